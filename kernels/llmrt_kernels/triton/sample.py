"""Drawing a token: temperature, top_k, top_p, min_p, without sorting. The truth is ``reference/sample.py``.

z = (logit - largest) / temperature, and d = floor(-z * 2^15) is a token's distance from the likeliest. Tokens of the
same d count as equal: what the filters keep is exactly what they keep of logits rounded so, and no token that they keep
of the logits themselves is lost. A token with z <= -32 is 10^-14 as likely as the likeliest, and is never drawn.

d has 20 bits. Counts of tokens and sums of exp(z) for each value of its upper ten (histogram) give the upper ten of the
border, the largest d that is kept; counts for each value of the lower ten, of the tokens whose upper ten are the
border's (refine), give the lower ones. All are sums of integers, so that their order does not matter.

    largest_keys      [T, stretches]   each row's largest logit
    histogram         [T, stretches]   if any row has top_k or top_p
    refine            [T, stretches]   the border of top_k, if any row has one
    refine            [T, stretches]   that of top_p, which is a part of what top_k left
    weigh             [T, stretches]   sums of exp(z) of what is kept
    draw              [T]              the token at fraction u of the sum, in the order of the vocabulary
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.triton.argmax import STRETCH, largest_keys, largest_of_row, place_of, value_of
from llmrt_kernels.triton.integers import next_power_of_2
from llmrt_kernels.triton.variant import Variant

BINS = tl.constexpr(1024)
ALL = tl.constexpr(1024 * 1024)  # values of d
STEPS = tl.constexpr(32768.0)  # of d in 1 of z
ONE = tl.constexpr(float(1 << 40))  # exp(0) in the histogram's integers


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
    ``any_top_p`` say whether any row has one.
    """
    tokens, size = logits.shape
    keys = largest_keys(logits)
    stretches = keys.shape[1]
    bins = _Bins.of(tokens, logits.device, any_top_k, any_top_p)
    sums = torch.empty(tokens, stretches, device=logits.device)
    borders = torch.empty(tokens, dtype=torch.int32, device=logits.device)
    out = torch.empty(tokens, dtype=torch.int64, device=logits.device)
    rows = (logits, keys, temperature)
    sizes = {"SIZE": size, "STRETCHES": stretches, "PADDED": next_power_of_2(stretches), "STRETCH": STRETCH}
    grid = (tokens, stretches)
    if bins.counts is not None:
        histogram_kernel[grid](*rows, bins.counts, bins.masses, **sizes)
    if any_top_k:
        refine_kernel[grid](*rows, top_k, top_p, bins.counts, bins.masses, bins.at_k, None, **sizes)
    if any_top_p:
        refine_kernel[grid](*rows, top_k, top_p, bins.counts, bins.masses, bins.at_k, bins.at_p, **sizes)
    weigh_kernel[grid](
        *rows, top_k, top_p, min_p, bins.counts, bins.masses, bins.at_k, bins.at_p, sums, borders, **sizes
    )
    draw_kernel[(tokens,)](*rows, min_p, seeds, draws, sums, borders, out, **sizes)
    return out


@dataclass(frozen=True)
class _Bins:
    """Zeros to count in, [T, BINS] each: int32, masses int64; None for what no row needs."""

    counts: Tensor | None
    masses: Tensor | None
    at_k: Tensor | None
    at_p: Tensor | None

    @classmethod
    def of(cls, tokens: int, device: torch.device, any_top_k: bool, any_top_p: bool) -> _Bins:
        if not any_top_k and not any_top_p:
            return cls(None, None, None, None)
        width = tokens * BINS.value
        words = torch.zeros(5 * width, dtype=torch.int32, device=device)  # in one filling
        masses, counts, at_k, at_p = words.split([2 * width, width, width, width])
        return cls(counts, masses.view(torch.int64), at_k if any_top_k else None, at_p if any_top_p else None)


@triton.jit
def histogram_kernel(
    logits_ptr,
    keys_ptr,
    temperature_ptr,
    counts_ptr,
    masses_ptr,
    SIZE: tl.constexpr,
    STRETCHES: tl.constexpr,
    PADDED: tl.constexpr,
    STRETCH: tl.constexpr,
):
    """Count the tokens of a stretch, and sum exp(z), by the upper ten bits of d."""
    t = tl.program_id(0).to(tl.int64)
    temperature = tl.load(temperature_ptr + t)
    if temperature > 0:
        most = value_of(largest_of_row(keys_ptr, t, STRETCHES, PADDED))
        z, d = distances(logits_ptr, t, tl.program_id(1), most, temperature, SIZE, STRETCH)
        at = t * BINS + d // BINS
        tl.atomic_add(counts_ptr + at, tl.full([STRETCH], 1, tl.int32), mask=d < ALL, sem="relaxed")
        tl.atomic_add(masses_ptr + at, (tl.exp(z) * ONE).to(tl.int64), mask=d < ALL, sem="relaxed")


@triton.jit
def refine_kernel(
    logits_ptr,
    keys_ptr,
    temperature_ptr,
    top_k_ptr,
    top_p_ptr,
    counts_ptr,
    masses_ptr,
    at_k_ptr,
    at_p_ptr,
    SIZE: tl.constexpr,
    STRETCHES: tl.constexpr,
    PADDED: tl.constexpr,
    STRETCH: tl.constexpr,
):
    """Count the tokens of a stretch in the bin of top_p's border, or of top_k's where ``at_p_ptr`` is None."""
    t = tl.program_id(0).to(tl.int64)
    temperature = tl.load(temperature_ptr + t)
    if at_p_ptr is None:
        bin, _before = bin_of_count(counts_ptr, t, tl.load(top_k_ptr + t))
        out_ptr = at_k_ptr
    else:
        border = border_of_count(counts_ptr, at_k_ptr, t, top_k_ptr)
        bin, _missing = bin_of_mass(masses_ptr, at_k_ptr, t, border, tl.load(top_p_ptr + t))
        out_ptr = at_p_ptr
    if (temperature > 0) & (bin < BINS):
        most = value_of(largest_of_row(keys_ptr, t, STRETCHES, PADDED))
        _z, d = distances(logits_ptr, t, tl.program_id(1), most, temperature, SIZE, STRETCH)
        ones = tl.full([STRETCH], 1, tl.int32)
        tl.atomic_add(out_ptr + t * BINS + d % BINS, ones, mask=d // BINS == bin, sem="relaxed")


@triton.jit
def weigh_kernel(
    logits_ptr,
    keys_ptr,
    temperature_ptr,
    top_k_ptr,
    top_p_ptr,
    min_p_ptr,
    counts_ptr,
    masses_ptr,
    at_k_ptr,
    at_p_ptr,
    sums_ptr,
    borders_ptr,
    SIZE: tl.constexpr,
    STRETCHES: tl.constexpr,
    PADDED: tl.constexpr,
    STRETCH: tl.constexpr,
):
    """Sum what is kept of a stretch; the first one's program also writes down the row's border."""
    t, stretch = tl.program_id(0).to(tl.int64), tl.program_id(1)
    temperature = tl.load(temperature_ptr + t)
    if temperature > 0:
        border = border_of_count(counts_ptr, at_k_ptr, t, top_k_ptr)
        if at_p_ptr is not None:
            border = border_of_mass(masses_ptr, at_k_ptr, at_p_ptr, t, border, tl.load(top_p_ptr + t))
        most = value_of(largest_of_row(keys_ptr, t, STRETCHES, PADDED))
        z, d = distances(logits_ptr, t, stretch, most, temperature, SIZE, STRETCH)
        weights = kept_weights(z, d, border, tl.load(min_p_ptr + t))
        tl.store(sums_ptr + t * STRETCHES + stretch, tl.sum(weights, 0))
        if stretch == 0:
            tl.store(borders_ptr + t, border)


@triton.jit
def draw_kernel(
    logits_ptr,
    keys_ptr,
    temperature_ptr,
    min_p_ptr,
    seeds_ptr,
    draws_ptr,
    sums_ptr,
    borders_ptr,
    out_ptr,
    SIZE: tl.constexpr,
    STRETCHES: tl.constexpr,
    PADDED: tl.constexpr,
    STRETCH: tl.constexpr,
):
    """Find the stretch that has fraction u of a row's sum, and the token in it."""
    t = tl.program_id(0).to(tl.int64)
    temperature = tl.load(temperature_ptr + t)
    largest = largest_of_row(keys_ptr, t, STRETCHES, PADDED)
    token = place_of(largest)
    if temperature > 0:
        at = tl.arange(0, PADDED)
        sums = tl.load(sums_ptr + t * STRETCHES + at, mask=at < STRETCHES, other=0.0).to(tl.float64)
        target = uniform(tl.load(seeds_ptr + t), tl.load(draws_ptr + t)) * tl.sum(sums, 0)
        stretch, before = first_above(sums, target)
        z, d = distances(logits_ptr, t, stretch, value_of(largest), temperature, SIZE, STRETCH)
        weights = kept_weights(z, d, tl.load(borders_ptr + t), tl.load(min_p_ptr + t))
        place, _sum = first_above(weights, (target - before).to(tl.float32))
        token = tl.minimum(stretch * STRETCH + place, SIZE - 1).to(tl.int64)
    tl.store(out_ptr + t, token)


@triton.jit
def distances(logits_ptr, t, stretch, most, temperature, SIZE: tl.constexpr, STRETCH: tl.constexpr):
    """z and d of a stretch of row t, [STRETCH] each; d is ALL for what is never drawn, such as what is not a number."""
    at = stretch * STRETCH + tl.arange(0, STRETCH)
    logits = tl.load(logits_ptr + t * SIZE + at, mask=at < SIZE, other=float("-inf")).to(tl.float32)
    z = tl.div_rn(logits - most, temperature)
    near = z * STEPS > -1.0 * ALL
    return z, tl.where(near, (tl.where(near, z, 0.0) * -STEPS).to(tl.int32), ALL)


@triton.jit
def kept_weights(z, d, border, min_p):
    """exp(z), 0 for what is behind the border or less likely than ``min_p`` times the likeliest."""
    weights = tl.exp(z)
    return tl.where((d <= border) & (weights >= min_p), weights, 0.0)


@triton.jit
def bin_of_count(counts_ptr, t, k):
    """The bin that the k-th likeliest token is in, BINS if there is none, and how many tokens are before that bin."""
    counts = tl.load(counts_ptr + t * BINS + tl.arange(0, BINS))
    bin, before = first_reaching(counts, tl.where(k > 0, k, 0x7FFFFFFF))
    return bin, before


@triton.jit
def border_of_count(counts_ptr, at_k_ptr, t, top_k_ptr):
    """The largest d that top_k keeps."""
    border = ALL - 1
    if at_k_ptr is not None:
        k = tl.load(top_k_ptr + t)
        bin, before = bin_of_count(counts_ptr, t, k)
        step, _sum = first_reaching(tl.load(at_k_ptr + t * BINS + tl.arange(0, BINS)), k - before)
        border = tl.minimum(bin * BINS + step, ALL - 1)
    return border


@triton.jit
def bin_of_mass(masses_ptr, at_k_ptr, t, border, top_p):
    """The bin that top_p's border is in, BINS if there is none, and what it still has to reach in it.

    ``border`` is top_k's, and what is behind it does not count.
    """
    bins = tl.arange(0, BINS)
    masses = tl.load(masses_ptr + t * BINS + bins).to(tl.float32) / ONE
    if at_k_ptr is not None:
        last = border // BINS
        in_last = tl.where(bins <= border % BINS, masses_of(at_k_ptr, t, last), 0.0)
        cut = tl.where(bins < last, masses, tl.where(bins == last, tl.sum(in_last, 0), 0.0))
        masses = tl.where(border < ALL - 1, cut, masses)
    target = top_p * tl.sum(masses, 0)
    bin, before = first_reaching(masses, target)
    return tl.where(top_p < 1, bin, BINS), target - before


@triton.jit
def border_of_mass(masses_ptr, at_k_ptr, at_p_ptr, t, border, top_p):
    """The largest d that both top_k, whose ``border`` is given, and top_p keep."""
    bin, missing = bin_of_mass(masses_ptr, at_k_ptr, t, border, top_p)
    step, _sum = first_reaching(masses_of(at_p_ptr, t, bin), missing)
    return tl.minimum(border, bin * BINS + tl.minimum(step, BINS - 1))


@triton.jit
def masses_of(counts_ptr, t, bin):
    """Sums of exp(z) for the counts of one bin by the lower ten bits of d: each token is taken for the middle one."""
    steps = tl.arange(0, BINS)
    return tl.load(counts_ptr + t * BINS + steps) * tl.exp((bin * BINS + steps + 0.5) / -STEPS)


@triton.jit
def first_reaching(values, target):
    """The first index at which the sum of ``values`` [N] with it reaches ``target``, N if none does; the sum before."""
    N: tl.constexpr = values.shape[0]
    at = tl.arange(0, N)
    index = tl.min(tl.where(tl.cumsum(values, 0) >= target, at, N), 0)
    return index, tl.sum(tl.where(at < index, values, 0), 0)


@triton.jit
def first_above(weights, target):
    """The first index with a weight at which the sum of ``weights`` [N] is above ``target``; the sum before.

    Where rounding leaves the whole sum below, the last index with a weight.
    """
    at = tl.arange(0, weights.shape[0])
    last = tl.max(tl.where(weights > 0, at, 0), 0)
    index = tl.min(tl.where((weights > 0) & (tl.cumsum(weights, 0) > target), at, last), 0)
    return index, tl.sum(tl.where(at < index, weights, 0.0), 0)


@triton.jit
def uniform(seed, draw):
    """Number ``draw`` of the stream of ``seed``, in [0, 1) fp64: SplitMix64, as in the reference."""
    mixed = mix64(mix64(seed.to(tl.uint64)) + draw.to(tl.uint64) * 0x9E3779B97F4A7C15)
    return (mixed >> 11).to(tl.float64) * (1.0 / (1 << 53))


@triton.jit
def mix64(x):
    """SplitMix64's finalizer."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB
    return x ^ (x >> 31)


_ROWS = {"logits_ptr": "*bf16", "keys_ptr": "*i64", "temperature_ptr": "*fp32"}
_FILTERS = {"top_k_ptr": "*i32", "top_p_ptr": "*fp32", "counts_ptr": "*i32", "masses_ptr": "*i64", "at_k_ptr": "*i32"}
_SIZES = {"SIZE": 128256, "STRETCHES": 63, "PADDED": 64, "STRETCH": STRETCH}

VARIANTS = (
    Variant("sample-histogram", histogram_kernel, _ROWS | {"counts_ptr": "*i32", "masses_ptr": "*i64"}, _SIZES),
    Variant(
        "sample-weigh",
        weigh_kernel,
        _ROWS | _FILTERS | {"min_p_ptr": "*fp32", "at_p_ptr": "*i32", "sums_ptr": "*fp32", "borders_ptr": "*i32"},
        _SIZES,
    ),
    Variant(
        "sample-draw",
        draw_kernel,
        _ROWS
        | {
            "min_p_ptr": "*fp32",
            "seeds_ptr": "*i64",
            "draws_ptr": "*i64",
            "sums_ptr": "*fp32",
            "borders_ptr": "*i32",
            "out_ptr": "*i64",
        },
        _SIZES,
    ),
)
