"""Activations to int8, a scale for each group: x = scale code, scale = largest / 127 (``Codes``).

The arithmetic is that of the CPU's kernels: code = x * (127 / largest), to the nearest, halves to the even.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.packed import Codes
from llmrt_kernels.triton.integers import cdiv, next_power_of_2

PAD = tl.constexpr(64)  # bytes between two tokens' codes
TILE = 2048  # values that one program rounds
# Types of the pointers to ``Codes`` that a kernel reads, and to those that it writes.
X_CODES = {"x_ptr": "*i8", "x_scales_ptr": "*fp32", "x_sums_ptr": "*i32"}
Y_CODES = {"y_ptr": "*i8", "y_scales_ptr": "*fp32", "y_sums_ptr": "*i32"}


def empty_codes(tokens: int, size: int, group: int, device: torch.device) -> Codes:
    """Room for ``tokens`` rows of ``size`` values."""
    groups = -(-size // group)
    return Codes(
        torch.empty(tokens, groups * group + PAD.value, dtype=torch.int8, device=device),
        torch.empty(tokens, groups, device=device),
        torch.empty(tokens, groups, dtype=torch.int32, device=device),
        group,
    )


def rows(x: Tensor, group: int = 0) -> Tensor | Codes:
    """x [T, N] as the product that follows takes it: in int8 with a ``group``."""
    return quantize_rows(x, group) if group else x


def quantize_rows(x: Tensor, group: int) -> Codes:
    """x [T, N] to int8, a scale for each ``group`` values."""
    tokens, size = x.shape
    codes = empty_codes(tokens, size, group, x.device)
    count = codes.scales.shape[1]
    tile = min(next_power_of_2(count), TILE // group)
    grid = (tokens, cdiv(count, tile))
    quantize_rows_kernel[grid](x, *codes.tensors, SIZE=size, GROUPS=tile, GROUP=group)
    return codes


@triton.jit
def quantize_rows_kernel(
    x_ptr, codes_ptr, scales_ptr, sums_ptr, SIZE: tl.constexpr, GROUPS: tl.constexpr, GROUP: tl.constexpr
):
    """A program rounds GROUPS groups of a token."""
    t = tl.program_id(0).to(tl.int64)
    g = tl.program_id(1) * GROUPS + tl.arange(0, GROUPS)
    at = g[:, None] * GROUP + tl.arange(0, GROUP)[None, :]
    x = tl.load(x_ptr + t * SIZE + at, mask=at < SIZE, other=0.0).to(tl.float32)
    store_codes(x, t, g, codes_ptr, scales_ptr, sums_ptr, (SIZE + GROUP - 1) // GROUP)


@triton.jit
def store_codes(x, t, g, codes_ptr, scales_ptr, sums_ptr, COUNT: tl.constexpr):
    """Write groups ``g`` of the COUNT of tokens ``t`` (int64), either [n], from x [n, G] fp32; what pads them is 0."""
    GROUP: tl.constexpr = x.shape[1]
    codes, scale = to_codes(x)
    at = t * COUNT + g
    inside = at < (t + 1) * COUNT
    code_at = (at * GROUP + t * PAD)[:, None] + tl.arange(0, GROUP)[None, :]
    tl.store(codes_ptr + code_at, codes.to(tl.int8), mask=inside[:, None])
    tl.store(scales_ptr + at, scale, mask=inside)
    tl.store(sums_ptr + at, tl.sum(codes, 1), mask=inside)


@triton.jit
def values_of(x_ptr, scales_ptr, t, k, SIZE: tl.constexpr, GROUP: tl.constexpr):
    """Values [n] fp32 at ``k`` [n] of row t (int64) of SIZE, in int8 if there are scales; 0 past the last."""
    GROUPS: tl.constexpr = (SIZE + GROUP - 1) // GROUP
    if scales_ptr is None:
        return tl.load(x_ptr + t * SIZE + k, mask=k < SIZE, other=0.0).to(tl.float32)
    else:
        codes = tl.load(x_ptr + t * (GROUPS * GROUP + PAD) + k, mask=k < SIZE, other=0).to(tl.float32)
        return codes * tl.load(scales_ptr + t * GROUPS + k // GROUP, mask=k < SIZE, other=0.0)


@triton.jit
def to_codes(x):
    """x [n, G] fp32 -> codes [n, G] int32 and their scales [n]."""
    largest = tl.max(tl.abs(x), 1)
    inverse = tl.where(largest > 0, tl.div_rn(127.0, largest), 0.0)
    return nearest(x * inverse[:, None]), tl.div_rn(largest, 127.0)


@triton.jit
def nearest(x):
    """The integer nearest to |x| < 2^22, halves to the even: 1.5 * 2^23 has no room for a fraction behind it."""
    return (x + 12582912.0).to(tl.int32, bitcast=True) - 0x4B400000
