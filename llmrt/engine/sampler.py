"""Choosing the next token from logits.

In order: logit_bias and penalties on the logits; no chance for tokens that a grammar forbids; then what
``llmrt_kernels/reference/sample.py`` does. A request's draw number i comes from its seed and i alone, so it is the same
whatever else is in the batch, and again after the request was preempted. Reported log-probabilities are the model's
own, before any of this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from llmrt.engine.request import Request, SamplingParams, TokenLogprob
from llmrt.engine.scheduler import SampledToken
from llmrt_kernels.reference.sample import draw, truncated, uniform


@torch.inference_mode()
def sample(logits: Tensor, requests: Sequence[Request]) -> list[SampledToken]:
    """Choose a token for each row. logits [R, V], row r for ``requests[r]``."""
    return [_choose(row, request) for row, request in zip(logits.float(), requests, strict=True)]


def choose(
    logits: Tensor, requests: Sequence[Request], likeliest: Callable[[], list[int]]
) -> dict[Request, SampledToken]:
    """The same by request; where the likeliest tokens are all that is asked for, those that ``likeliest`` knows."""
    if all(request.is_plain_greedy for request in requests):
        return dict(zip(requests, map(SampledToken, likeliest()), strict=True)) if requests else {}
    return dict(zip(requests, sample(logits, requests), strict=True))


def _choose(logits: Tensor, request: Request) -> SampledToken:
    params = request.params
    adjusted = penalise(logits, request)
    if request.constraint is not None:
        forbidden = torch.from_numpy(request.constraint.forbidden())
        adjusted.masked_fill_(forbidden.to(adjusted.device), -torch.inf)
    if params.temperature == 0:
        token_id = int(adjusted.argmax())
    else:
        probs = truncated_distribution(adjusted, params)
        token_id = draw(probs, uniform(request.seed, request.num_output_tokens))
    logprob = None if params.logprobs is None else report(logits, token_id, params.logprobs)
    return SampledToken(token_id, logprob)


def penalise(logits: Tensor, request: Request) -> Tensor:
    """Apply logit_bias and the penalties. logits [V] fp32 -> [V].

    repetition_penalty (https://arxiv.org/abs/1909.05858) divides positive and multiplies negative logits of tokens
    in the prompt or the answer; frequency and presence penalties are subtracted, as OpenAI defines them, for tokens
    in the answer: frequency * count + presence.
    """
    params, logits = request.params, logits.clone()
    if params.repetition_penalty != 1:
        seen = torch.tensor(sorted(set(request.token_ids)), device=logits.device)
        values = logits[seen]
        penalty = params.repetition_penalty
        logits[seen] = torch.where(values > 0, values / penalty, values * penalty)
    counts = Counter(request.token_ids[request.num_prompt_tokens :])
    if counts and (params.frequency_penalty or params.presence_penalty):
        tokens = torch.tensor(list(counts), device=logits.device)
        count = torch.tensor(list(counts.values()), dtype=logits.dtype, device=logits.device)
        logits[tokens] -= params.frequency_penalty * count + params.presence_penalty
    for token_id, bias in params.logit_bias.items():
        logits[token_id] += bias
    return logits


def truncated_distribution(logits: Tensor, params: SamplingParams) -> Tensor:
    """Probabilities with the tail set to 0, not renormalised. logits [V] -> [V]."""
    return truncated(logits, params.temperature, params.top_k, params.top_p, params.min_p)


def report(logits: Tensor, token_id: int, num_top: int) -> TokenLogprob:
    """The log-probability of ``token_id`` and of the ``num_top`` likeliest tokens. logits [V] fp32."""
    logprobs = logits.log_softmax(-1)
    values, tokens = torch.topk(logprobs, num_top)
    top = tuple(zip(tokens.tolist(), values.tolist(), strict=True))
    return TokenLogprob(token_id, float(logprobs[token_id]), top)
