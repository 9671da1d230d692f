"""Choosing codes and scales for a weight, and packing them: the arithmetic of the CPU's kernel, to the bit.

A thread has a row and goes through its columns in order, group after group, as a lane of the CPU does: four times over
a group, for its extremes, for the candidates' fits, for the last fit, and for the codes, each of which changes what the
next column is rounded from. Sums are fused multiply-adds in the CPU's order. See the reference for the formulas.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.triton.codes import nearest
from llmrt_kernels.triton.product_dot4 import BLOCK
from llmrt_kernels.triton.target import INTERPRETED
from llmrt_kernels.triton.variant import Variant

ROWS = 256 if INTERPRETED else 32  # of a program
# What the value of largest magnitude is tried as.
TRIED = {4: (-7.25, -7.75, -8.25, -8.75, -9.25), 8: (-128.0, -127.0, -126.0, -125.0)}


def quantize(
    weight: Tensor,
    importance: Tensor | None = None,
    directions: Tensor | None = None,
    correction: Tensor | None = None,
    *,
    bits: int,
    group: int,
) -> tuple[Tensor, Tensor]:
    """weight [N, K] of fp32, bf16 or fp16, importance [K], directions and correction [K, R] fp32 -> (data, scales)."""
    rows, columns = weight.shape
    blocks, groups = triton.cdiv(rows, BLOCK.value), triton.cdiv(columns, group)
    data = torch.empty(blocks, groups * group * bits // 32, 64, dtype=torch.uint8, device=weight.device)
    scales = torch.empty(blocks, groups, BLOCK.value, dtype=torch.float16, device=weight.device)
    rank = 0 if directions is None else directions.shape[1]
    quantize_kernel[(triton.cdiv(blocks * BLOCK.value, ROWS),)](
        weight, importance, directions, correction, data, scales, rows, blocks * BLOCK.value, columns, groups,
        TRIED=TRIED[bits], RANK=rank, GROUP=group, BITS=bits, ROWS=ROWS, num_warps=1,
    )  # fmt: skip
    return data, scales


@triton.jit(do_not_specialize=["rows", "packed_rows", "columns", "groups"])
def quantize_kernel(
    weight_ptr, importance_ptr, directions_ptr, correction_ptr, data_ptr, scales_ptr,
    rows, packed_rows, columns, groups,
    TRIED: tl.constexpr, RANK: tl.constexpr, GROUP: tl.constexpr, BITS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """A program quantizes ROWS rows. ``drift`` is what their rounding did along each direction so far."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    ZERO: tl.constexpr = 1 << (BITS - 1)
    block = row.to(tl.int64) // BLOCK
    stored = row < packed_rows
    weight = (weight_ptr + row.to(tl.int64) * columns, row < rows, columns)
    guide = (importance_ptr, correction_ptr)
    lines_ptr = data_ptr.to(tl.pointer_type(tl.int32)) + block * groups * (GROUP * BITS // 32) * BLOCK + row % BLOCK
    drift = ()
    for _ in tl.static_range(RANK):
        drift += (tl.zeros([ROWS], tl.float32),)
    for g in tl.range(0, groups):
        scale = searched(weight, guide, drift, g * GROUP, TRIED, GROUP, BITS).to(tl.float16)
        tl.store(scales_ptr + (block * groups + g) * BLOCK + row % BLOCK, scale, mask=stored)
        scale = scale.to(tl.float32)
        inverse = over(1.0, scale)
        word = tl.zeros([ROWS], tl.int32)
        for j in tl.range(0, GROUP):
            value = column(weight, g * GROUP + j)
            code = nearest_code(corrected(value, guide, drift, g * GROUP + j, columns) * inverse, BITS)
            drift = moved(drift, tl.fma(-code, scale, value), directions_ptr, g * GROUP + j, columns)
            place = j % (32 // BITS)  # in a line
            word = tl.where(place == 0, 0, word) | ((code.to(tl.int32) + ZERO) << (8 * (place % 4) + 4 * (place // 4)))
            line = (g * GROUP + j) // (32 // BITS)
            tl.store(lines_ptr + line * BLOCK, word, mask=stored & (place == 32 // BITS - 1))


@triton.jit
def searched(weight, guide, drift, first, TRIED: tl.constexpr, GROUP: tl.constexpr, BITS: tl.constexpr):
    """The scales [ROWS] of the group of columns from ``first`` on."""
    _, there, columns = weight
    most = tl.zeros(there.shape, tl.float32)
    least = most
    for k in tl.range(first, first + GROUP):
        x = corrected(column(weight, k), guide, drift, k, columns)
        most, least = tl.maximum(most, x), tl.minimum(least, x)
    extreme = tl.where(most > -least, most, least)
    inverses = ()
    for i in tl.static_range(len(TRIED)):
        inverses += (over(TRIED[i], extreme),)
    gain = tl.zeros(there.shape, tl.float32)
    scale = gain
    xl, ll = fits(weight, guide, drift, first, inverses, GROUP, BITS)
    for i in tl.static_range(len(TRIED)):
        fitted = over(xl[i], ll[i])
        better = (ll[i] > 0) & (fitted * xl[i] > gain)
        gain, scale = tl.where(better, fitted * xl[i], gain), tl.where(better, fitted, scale)
    xl, ll = fits(weight, guide, drift, first, (over(1.0, scale),), GROUP, BITS)
    return tl.where(ll[0] > 0, over(xl[0], ll[0]), scale)


@triton.jit
def fits(weight, guide, drift, first, inverses, GROUP: tl.constexpr, BITS: tl.constexpr):
    """sum(v x l) and sum(v l^2), for the codes l of x times each of ``inverses``; v is the columns' importance."""
    importance_ptr, _ = guide
    _, there, columns = weight
    xl = ()
    for _ in tl.static_range(len(inverses)):
        xl += (tl.zeros(there.shape, tl.float32),)
    ll = xl
    for k in tl.range(first, first + GROUP):
        x = corrected(column(weight, k), guide, drift, k, columns)
        v = 1.0 if importance_ptr is None else tl.load(importance_ptr + k, mask=k < columns, other=1.0)
        more_xl, more_ll = (), ()
        for i in tl.static_range(len(inverses)):
            code = nearest_code(x * inverses[i], BITS)
            more_xl += (tl.fma(code * v, x, xl[i]),)
            more_ll += (tl.fma(code * v, code, ll[i]),)
        xl, ll = more_xl, more_ll
    return xl, ll


@triton.jit
def column(weight, k):
    """Column k of a program's rows, fp32, 0 behind the last."""
    row_ptr, there, columns = weight
    return tl.load(row_ptr + k, mask=there & (k < columns), other=0.0).to(tl.float32)


@triton.jit
def corrected(x, guide, drift, k, columns):
    """What column k is rounded from: x + drift . correction_k, in the four sums that the CPU has."""
    _, correction_ptr = guide
    sums = (x, x * 0, x * 0, x * 0)
    for i in tl.static_range(len(drift)):
        more = tl.fma(drift[i], entry(correction_ptr, k, i, len(drift), columns), sums[0])
        sums = (sums[1], sums[2], sums[3], more)
    for _ in tl.static_range(-len(drift) % 4):  # until the sum that began with x is the first again
        sums = (sums[1], sums[2], sums[3], sums[0])
    return (sums[0] + sums[1]) + (sums[2] + sums[3])


@triton.jit
def moved(drift, error, directions_ptr, k, columns):
    """``drift`` when column k is off by ``error``."""
    further = ()
    for i in tl.static_range(len(drift)):
        further += (tl.fma(error, entry(directions_ptr, k, i, len(drift), columns), drift[i]),)
    return further


@triton.jit
def entry(ptr, k, i: tl.constexpr, rank: tl.constexpr, columns):
    """Number i of column k's directions or corrections, 0 behind the last column."""
    return tl.load(ptr + k * rank + i, mask=k < columns, other=0.0)


@triton.jit
def nearest_code(x, BITS: tl.constexpr):
    """The code of x / scale, as fp32."""
    low: tl.constexpr = -(1 << (BITS - 1))
    return nearest(tl.maximum(tl.minimum(x, -low - 1.0), low * 1.0)).to(tl.float32)


@triton.jit
def over(a, b):
    """a / b, 0 where b is 0."""
    return tl.where(b == 0, 0.0, tl.div_rn(a, tl.where(b == 0, 1.0, b)))


VARIANTS = (
    Variant(
        "quantize-int4-bf16",
        quantize_kernel,
        {"weight_ptr": "*bf16", "importance_ptr": "*fp32", "directions_ptr": "*fp32", "correction_ptr": "*fp32"}
        | {"data_ptr": "*u8", "scales_ptr": "*fp16"}
        | {"rows": "i32", "packed_rows": "i32", "columns": "i32", "groups": "i32"},
        {"TRIED": TRIED[4], "RANK": 64, "GROUP": 64, "BITS": 4, "ROWS": ROWS},
        num_warps=1,
    ),
)
