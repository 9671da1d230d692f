"""Choosing the next token from logits.

In order: logit_bias and penalties on the logits; no chance for tokens that are not allowed, that end an answer too soon
or that a grammar forbids; then what ``llmrt_kernels/reference/sample.py`` does. A request's draw number i comes from
its seed and i alone, so it is the same whatever else is in the batch, and again after the request was preempted.
Reported log-probabilities are the model's own, before any of this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile

import numpy as np
import torch
from torch import Tensor

from llmrt.engine.request import PENDING, Request, TokenLogprob
from llmrt.engine.scheduler import SampledToken
from llmrt.ops.registry import resolve
from llmrt.ops.table import ARGMAX, HOST_SAMPLE
from llmrt.ops.types import OpSpec

_MASK64 = (1 << 64) - 1


class Sampler:
    """Chooses tokens for requests by the ops of ``spec``; logits are where those are."""

    def __init__(self, spec: OpSpec) -> None:
        self._argmax: Callable[[Tensor], Tensor] = resolve(ARGMAX, spec)
        self._sample = resolve(HOST_SAMPLE, spec)

    @torch.inference_mode()
    def sample(self, logits: Tensor, requests: Sequence[Request], accepted: Sequence[int] = ()) -> list[SampledToken]:
        """Choose a token for each row, behind the ``accepted`` ones of its draft. logits [R, V], row r for
        ``requests[r]``.
        """
        if not requests:
            return []
        if all(request.is_plain_greedy for request in requests):
            return [*map(SampledToken, self._argmax(logits).tolist())]
        logits, errors = logits.float(), dict[int, str]()
        adjusted = logits
        for row, request in enumerate(requests):
            if request.params.changes_logits:
                adjusted = logits.clone() if adjusted is logits else adjusted
                adjusted[row] = _adjusted(logits[row], request, accepted)
                if request.params.forbids and adjusted[row].max() == -torch.inf:
                    errors[row] = _none_left(request, accepted)
        tokens = self._drawn(adjusted, requests, len(accepted))
        return [
            SampledToken(PENDING, error=errors[row]) if row in errors else _reported(logits[row], token_id, request)
            for row, (token_id, request) in enumerate(zip(tokens, requests, strict=True))
        ]

    def choose(self, logits: Tensor, requests: Sequence[Request]) -> dict[Request, SampledToken]:
        """Choose a token for each request, whose row of logits [R, V] has its number."""
        return dict(zip(requests, self.sample(logits, requests), strict=True))

    def verify(
        self, logits: Tensor, requests: Sequence[Request], likeliest: Callable[[], list[int]]
    ) -> dict[Request, SampledToken]:
        """Choose where each request has a row for its last token and one for each token of its draft.

        logits [R, V]. While the token of a row is that of the draft, the next row is right, and chosen from too. Where
        the likeliest tokens are all that is asked for, they are those that ``likeliest`` knows.
        """
        if not any(request.draft for request in requests):
            if all(request.is_plain_greedy for request in requests):
                return dict(zip(requests, map(SampledToken, likeliest()), strict=True))
            return self.choose(logits, requests)
        best, chosen, start = likeliest(), dict[Request, SampledToken](), 0
        for request in requests:
            end = start + 1 + len(request.draft)
            chosen[request] = self._follow_draft(request, logits[start:end], best[start:end])
            start = end
        return chosen

    def _follow_draft(self, request: Request, logits: Tensor, likeliest: Sequence[int]) -> SampledToken:
        accepted: list[SampledToken] = []

        def choose_next() -> SampledToken:
            row = len(accepted)
            if request.is_plain_greedy:
                return SampledToken(likeliest[row])
            return self.sample(logits[row : row + 1], [request], [token.token_id for token in accepted])[0]

        token = choose_next()
        for guess in request.draft:
            if token.token_id != guess:
                break
            accepted.append(token)
            if request.constraint is not None:
                request.constraint.advance(guess)
            token = choose_next()
        return replace(token, accepted=tuple(accepted))

    def _drawn(self, logits: Tensor, requests: Sequence[Request], num_accepted: int) -> list[int]:
        params = [request.params for request in requests]
        reals = [[p.temperature for p in params], [p.top_p for p in params], [p.min_p for p in params]]
        temperature, top_p, min_p = torch.tensor(reals, dtype=torch.float32)
        top_k = [p.top_k for p in params]
        numbers = [[r.seed & _MASK64 for r in requests], [r.num_output_tokens + num_accepted for r in requests]]
        seeds, draws = torch.from_numpy(np.array(numbers, dtype=np.uint64).view(np.int64))
        tokens = self._sample(
            logits,
            temperature,
            torch.tensor(top_k, dtype=torch.int32),
            top_p,
            min_p,
            seeds,
            draws,
            any_top_k=any(top_k),
            any_top_p=min(reals[1]) < 1,
        )
        return tokens.tolist()


def accept(tokens: Sequence[int], requests: Sequence[Request]) -> dict[Request, SampledToken]:
    """What ``verify`` gives, from the tokens of all rows: those up to the first that is not the draft's."""
    chosen, start = dict[Request, SampledToken](), 0
    for request in requests:
        own = tokens[start : start + 1 + len(request.draft)]
        start += len(own)
        right = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(request.draft, own, strict=False)))
        chosen[request] = SampledToken(own[right], accepted=tuple(map(SampledToken, own[:right])))
    return chosen


def _adjusted(logits: Tensor, request: Request, accepted: Sequence[int]) -> Tensor:
    """What a token is drawn from. logits [V] fp32 -> [V]."""
    adjusted = penalise(logits, request, accepted)
    if request.params.forbids:
        adjusted.masked_fill_(_forbidden(adjusted, request, accepted), -torch.inf)
    return adjusted


def _reported(logits: Tensor, token_id: int, request: Request) -> SampledToken:
    num_top = request.params.logprobs
    return SampledToken(token_id, None if num_top is None else report(logits[None], [token_id], num_top)[0])


def penalise(logits: Tensor, request: Request, accepted: Sequence[int] = ()) -> Tensor:
    """Apply logit_bias and the penalties, for what comes after ``accepted`` tokens. logits [V] fp32 -> [V].

    repetition_penalty (https://arxiv.org/abs/1909.05858) divides positive and multiplies negative logits of tokens
    in the prompt or the answer; frequency and presence penalties are subtracted, as OpenAI defines them, for tokens
    in the answer: frequency * count + presence.
    """
    params, logits = request.params, logits.clone()
    if params.repetition_penalty != 1:
        seen = torch.tensor(sorted({*request.token_ids, *accepted}), device=logits.device)
        values = logits[seen]
        penalty = params.repetition_penalty
        raised = (values / penalty).clamp_max(torch.finfo(values.dtype).max)  # by a penalty near 0
        logits[seen] = torch.where(values > 0, raised, values * penalty)
    if params.frequency_penalty or params.presence_penalty:
        counts = Counter([*request.token_ids[request.num_prompt_tokens :], *accepted])
        tokens = torch.tensor(list(counts), dtype=torch.int64, device=logits.device)
        count = torch.tensor(list(counts.values()), dtype=logits.dtype, device=logits.device)
        logits[tokens] -= params.frequency_penalty * count + params.presence_penalty
    for token_id, bias in params.logit_bias.items():
        logits[token_id] += bias
    return logits


def _forbidden(logits: Tensor, request: Request, accepted: Sequence[int]) -> Tensor:
    """True for the tokens that must not come after ``accepted`` ones. logits [V] -> [V]."""
    params = request.params
    forbidden = torch.full_like(logits, bool(params.allowed_token_ids), dtype=torch.bool)
    forbidden[list(params.allowed_token_ids)] = False
    if _is_too_short(request, accepted):
        forbidden[list(params.stop_token_ids)] = True
    if params.bad_words:
        answer = (*request.token_ids[request.num_prompt_tokens :], *accepted)
        forbidden[[end for *start, end in params.bad_words if _ends_with(answer, start)]] = True
    if request.constraint is not None:
        forbidden |= torch.from_numpy(request.constraint.forbidden()).to(logits.device)
    return forbidden


def _none_left(request: Request, accepted: Sequence[int]) -> str:
    """Which of the fields that forbid tokens have left none after ``accepted`` ones."""
    params = request.params
    fields = {
        "allowed_token_ids": params.allowed_token_ids,
        "bad_words (or false in logit_bias)": params.bad_words,
        "min_tokens": _is_too_short(request, accepted),
        "the grammar": params.grammar is not None,
    }
    return f"No token may come next: {' and '.join(name for name, value in fields.items() if value)} leave none."


def _is_too_short(request: Request, accepted: Sequence[int]) -> bool:
    """Whether min_tokens forbids the answer to end after ``accepted`` tokens."""
    return request.num_output_tokens + len(accepted) < request.params.min_tokens


def _ends_with(answer: Sequence[int], start: Sequence[int]) -> bool:
    return not start or list(answer[-len(start) :]) == start


def report(logits: Tensor, token_ids: Sequence[int], num_top: int) -> list[TokenLogprob]:
    """The log-probability and rank of each row's token, and the ``num_top`` likeliest there. logits [R, V] fp32."""
    logprobs = logits.log_softmax(-1)
    own = logprobs.gather(1, torch.tensor(token_ids, device=logits.device)[:, None])
    ranks = 1 + (logprobs > own).sum(1)
    values, tokens = torch.topk(logprobs, num_top)
    tops = [tuple(zip(*row, strict=True)) for row in zip(tokens.tolist(), values.tolist(), strict=True)]
    return [TokenLogprob(*row) for row in zip(token_ids, own[:, 0].tolist(), ranks.tolist(), tops, strict=True)]
