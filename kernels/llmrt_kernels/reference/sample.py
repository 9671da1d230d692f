"""Drawing a token: temperature, then top_k, top_p and min_p, which cut the tail, and one draw from what is left.

Number i of a stream comes from its seed and i alone, so that a request's tokens are the same whatever else is in the
batch. Ties at a border are all kept.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MASK64 = (1 << 64) - 1
_COLDEST = 1e-30  # what is colder is the same, and less than that would be 0 in fp32


def sample(
    logits: Tensor,
    temperature: Tensor,
    top_k: Tensor,
    top_p: Tensor,
    min_p: Tensor,
    seeds: Tensor,
    draws: Tensor,
    *,
    any_top_k: bool,
    any_top_p: bool,
) -> Tensor:
    """Draw a token for each row of logits [T, V] -> [T] int64.

    For each row, all [T]: temperature fp32, 0 for the likeliest token; top_k int32, 0 for all; top_p fp32, 1 for all;
    min_p fp32; and the random number, that of ``draws`` int64 in the stream of ``seeds`` int64. ``any_top_k`` and
    ``any_top_p`` say whether any row has one; kernels leave out what no row needs.
    """
    del any_top_k, any_top_p
    out = logits.argmax(-1)
    rows = zip(*(t.tolist() for t in (temperature, top_k, top_p, min_p, seeds, draws)), strict=True)
    for t, (heat, k, p, low, seed, number) in enumerate(rows):
        if heat > 0:
            out[t] = draw(truncated(logits[t].float(), heat, k, p, low), uniform(seed, number))
    return out


def truncated(logits: Tensor, temperature: float, top_k: int, top_p: float, min_p: float) -> Tensor:
    """What the draw is made from: probabilities with the tail set to 0, not renormalised. logits [V] -> [V]."""
    logits = (logits - logits.max()) / max(temperature, _COLDEST)  # however cold it is, that of the likeliest is 0
    if 0 < top_k < logits.numel():
        smallest = torch.topk(logits, top_k).values[-1]
        logits = logits.masked_fill(logits < smallest, float("-inf"))
    probs = logits.softmax(-1)
    if top_p < 1:
        probs = probs * (probs >= _nucleus_border(probs, top_p))
    if min_p > 0:
        probs = probs * (probs >= min_p * probs.max())
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
