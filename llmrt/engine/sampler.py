"""Choosing the next token from logits.

In order: logit_bias and penalties on the logits; temperature; top_k; top_p; min_p; one draw. A request's draw
number i comes from its seed and i alone, so it is the same whatever else is in the batch, and again after the
request was preempted. Reported log-probabilities are the model's own, before any of this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from llmrt.engine.request import Request, SamplingParams, TokenLogprob
from llmrt.engine.scheduler import SampledToken

_MASK64 = (1 << 64) - 1


@torch.inference_mode()
def sample(logits: Tensor, requests: Sequence[Request]) -> list[SampledToken]:
    """Choose a token for each row. logits [R, V], row r for ``requests[r]``."""
    return [_choose(row, request) for row, request in zip(logits.float(), requests, strict=True)]


def _choose(logits: Tensor, request: Request) -> SampledToken:
    params = request.params
    adjusted = penalise(logits, request)
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
    """What the draw is made from: probabilities with the tail set to 0, not renormalised. logits [V] -> [V].

    Ties at a border are all kept.
    """
    logits = logits / params.temperature
    if 0 < params.top_k < logits.numel():
        smallest = torch.topk(logits, params.top_k).values[-1]
        logits = logits.masked_fill(logits < smallest, float("-inf"))
    probs = logits.softmax(-1)
    if params.top_p < 1:
        probs = probs * (probs >= _nucleus_border(probs, params.top_p))
    if params.min_p > 0:
        probs = probs * (probs >= params.min_p * probs.max())
    return probs


def _nucleus_border(probs: Tensor, top_p: float) -> Tensor:
    """The smallest probability in the smallest set of likeliest tokens whose sum reaches ``top_p``.

    The set is small as a rule, so a few of the likeliest are sorted first, then more.
    """
    count = 64
    while True:
        likeliest = torch.topk(probs, min(count, probs.numel())).values
        sums = likeliest.cumsum(0)
        if sums[-1] >= top_p or count >= probs.numel():
            last = int((sums < top_p).sum())
            return likeliest[min(last, likeliest.numel() - 1)]
        count *= 8


def draw(probs: Tensor, u: float) -> int:
    """The token at fraction ``u`` (0 <= u < 1) of the cumulative distribution. probs [V], of any sum above 0."""
    cdf = probs.double().cumsum(0)
    target = u * cdf[-1]
    return int(torch.searchsorted(cdf, target, right=True).clamp_max(probs.numel() - 1))


def uniform(seed: int, index: int) -> float:
    """Number ``index`` of the stream of ``seed``, in [0, 1): SplitMix64 (doi 10.1145/2714064.2660195)."""
    mixed = _mix64(_mix64(seed) + index * 0x9E3779B97F4A7C15)
    return (mixed >> 11) / (1 << 53)


def _mix64(x: int) -> int:
    x &= _MASK64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK64
    return x ^ (x >> 31)


def report(logits: Tensor, token_id: int, num_top: int) -> TokenLogprob:
    """The log-probability of ``token_id`` and of the ``num_top`` likeliest tokens. logits [V] fp32."""
    logprobs = logits.log_softmax(-1)
    values, tokens = torch.topk(logprobs, num_top)
    top = tuple(zip(tokens.tolist(), values.tolist(), strict=True))
    return TokenLogprob(token_id, float(logprobs[token_id]), top)
