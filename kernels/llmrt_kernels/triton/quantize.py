"""Choosing codes and scales for a weight, and packing them: the arithmetic of the CPU's kernel, to the bit.

Four threads have a row and go through its columns group after group: each has one of the four sums that the CPU has of
what a column is rounded from, and every fourth direction. What the columns of a group would be rounded from before any
of them is, their targets, is computed once and kept in memory, and the group's scale follows from that. Then columns
are rounded in order, and each changes what the next is rounded from. Sums are fused multiply-adds in the CPU's order.
See the reference for the formulas.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn.functional import pad

from llmrt_kernels.triton.integers import cdiv
from llmrt_kernels.triton.product_dot4 import BLOCK
from llmrt_kernels.triton.quantize_search import TRIED, nearest_code, over, searched
from llmrt_kernels.triton.target import INTERPRETED, target_of
from llmrt_kernels.triton.variant import Variant

CHUNK = tl.constexpr(4)  # columns whose targets are computed side by side


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
    (rows, columns), device = weight.shape, weight.device
    blocks, groups = cdiv(rows, BLOCK.value), cdiv(columns, group)
    data = torch.empty(blocks, groups * group * bits // 32, 64, dtype=torch.uint8, device=device)
    scales = torch.empty(blocks, groups, BLOCK.value, dtype=torch.float16, device=device)
    lanes = 1024 if INTERPRETED else target_of(device).warp_size
    programs = cdiv(4 * blocks * BLOCK.value, lanes)
    targets = torch.empty(programs, group, lanes // 4, device=device)
    behind = groups * group - columns
    importance = None if importance is None else pad(importance, (0, behind))
    rank = 0 if directions is None else directions.shape[1]
    directions, correction = (t if t is None else pad(t, (0, -rank % 4, 0, behind)) for t in (directions, correction))
    quantize_kernel[(programs,)](
        weight, importance, directions, correction, targets, data, scales, rows, blocks * BLOCK.value, columns, groups,
        TRIED=TRIED[bits], FOURS=cdiv(rank, 4), GROUP=group, BITS=bits, ROWS=lanes // 4, num_warps=1,
    )  # fmt: skip
    return data, scales


@triton.jit(do_not_specialize=["rows", "packed_rows", "columns", "groups"])
def quantize_kernel(
    weight_ptr, importance_ptr, directions_ptr, correction_ptr, targets_ptr, data_ptr, scales_ptr,
    rows, packed_rows, columns, groups,
    TRIED: tl.constexpr, FOURS: tl.constexpr, GROUP: tl.constexpr, BITS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """A program quantizes ROWS rows. ``drift`` is what their rounding did along the directions so far, in FOURS."""
    ZERO: tl.constexpr = 1 << (BITS - 1)
    LINE: tl.constexpr = 32 // BITS  # columns
    lane = tl.arange(0, ROWS)
    row = tl.program_id(0) * ROWS + spread(lane)
    block, place = row.to(tl.int64) // BLOCK, row % BLOCK
    stored = (row < packed_rows) & (quarter() == 0)
    weight = (weight_ptr + row.to(tl.int64) * columns, row < rows, columns)
    lines_ptr = data_ptr.to(tl.pointer_type(tl.int32)) + block * groups * (GROUP // LINE) * BLOCK + place
    targets_ptr += tl.program_id(0) * (GROUP * ROWS)
    drift = ()
    for _ in tl.static_range(FOURS):
        drift += (tl.zeros(row.shape, tl.float32),)
    for g in tl.range(0, groups):
        extreme = keep_targets(targets_ptr + spread(lane), weight, correction_ptr, drift, g * GROUP, GROUP)
        scale = searched(targets_ptr + lane, importance_ptr, extreme, g * GROUP, TRIED, GROUP, BITS)
        scale = spread(scale.to(tl.float16))
        tl.store(scales_ptr + (block * groups + g) * BLOCK + place, scale, mask=stored)
        scale = scale.to(tl.float32)
        inverse = over(1.0, scale)
        for line in tl.range(g * (GROUP // LINE), (g + 1) * (GROUP // LINE)):
            word = tl.zeros(row.shape, tl.int32)
            for j in tl.range(0, LINE):
                k = line * LINE + j
                value = column(weight, k)
                code = nearest_code(corrected(value, correction_ptr, drift, k) * inverse, BITS)
                drift = moved(drift, tl.fma(code, -scale, value), directions_ptr, k)
                word |= (code.to(tl.int32) + ZERO) << (8 * (j % 4) + 4 * (j // 4))
            tl.store(lines_ptr + line * BLOCK, word, mask=stored)


@triton.jit
def spread(x):
    """x [ROWS] for the four threads of each row, [ROWS, 2, 2]: the shape of all that threads compute for their row."""
    return tl.broadcast_to(x[:, None, None], (x.shape[0], 2, 2))


@triton.jit
def quarter():
    """Which of its row's four sums is a thread's, [1, 2, 2]."""
    return 2 * tl.arange(0, 2)[None, :, None] + tl.arange(0, 2)[None, None, :]


@triton.jit
def keep_targets(kept_ptr, weight, correction_ptr, drift, first, GROUP: tl.constexpr):
    """What the columns of the group from ``first`` on are rounded from if all have this ``drift``, to ``kept_ptr``.

    Returns the one of largest magnitude [ROWS].
    """
    _, there, _ = weight
    most = tl.zeros(there.shape, tl.float32)
    least = most
    tl.debug_barrier()  # all threads have read the group before
    for j in tl.range(0, GROUP, CHUNK):
        targets = ()
        for i in tl.static_range(CHUNK):
            k = first + j + i
            targets += (corrected(column(weight, k), correction_ptr, drift, k),)
        for i in tl.static_range(CHUNK):
            tl.store(kept_ptr + (j + i) * there.shape[0], targets[i], mask=quarter() == 0)
            most, least = tl.maximum(most, targets[i]), tl.minimum(least, targets[i])
    tl.debug_barrier()
    return tl.max(tl.max(tl.where(most > -least, most, least), 2), 1)  # of four that are the same


@triton.jit
def column(weight, k):
    """Column k of a program's rows, fp32, 0 behind the last."""
    row_ptr, there, columns = weight
    return tl.load(row_ptr + k, mask=there & (k < columns), other=0.0).to(tl.float32)


@triton.jit
def corrected(x, correction_ptr, drift, k):
    """What column k is rounded from: x + drift . correction_k, in the four sums that the CPU has."""
    if len(drift) == 0:
        return x
    else:
        sums = tl.where(quarter() == 0, x, 0.0)
        for i in tl.static_range(len(drift)):
            sums = tl.fma(drift[i], entries(correction_ptr, k, i, len(drift)), sums)
        pairs = tl.broadcast_to(tl.sum(sums, 2)[:, :, None], sums.shape)
        return tl.broadcast_to(tl.sum(pairs, 1)[:, None, :], sums.shape)


@triton.jit
def moved(drift, error, directions_ptr, k):
    """``drift`` when column k is off by ``error``."""
    further = ()
    for i in tl.static_range(len(drift)):
        further += (tl.fma(error, entries(directions_ptr, k, i, len(drift)), drift[i]),)
    return further


@triton.jit
def entries(table_ptr, k, i: tl.constexpr, FOURS: tl.constexpr):
    """Numbers 4 i to 4 i + 3 of column k's directions or corrections."""
    return tl.load(table_ptr + (k * FOURS + i) * 4 + quarter())


CONSTANTS = {"TRIED": TRIED[4], "FOURS": 16, "GROUP": 64, "BITS": 4}
VARIANTS = (
    Variant(
        "quantize-int4-bf16",
        quantize_kernel,
        {"weight_ptr": "*bf16", "importance_ptr": "*fp32", "directions_ptr": "*fp32", "correction_ptr": "*fp32"}
        | {"targets_ptr": "*fp32", "data_ptr": "*u8", "scales_ptr": "*fp16"}
        | {"rows": "i32", "packed_rows": "i32", "columns": "i32", "groups": "i32"},
        CONSTANTS | {"ROWS": 8},
        num_warps=1,
        tuned={"gfx942": {"constants": CONSTANTS | {"ROWS": 16}}},
    ),
)
