"""Attention of requests with few new tokens: a program has one kv head, all queries of a request, a part of its keys.

The parts (splits) are as many for every request, so that the grid is known without asking the device; each request's
tiles are dealt out evenly among them, and what is left over ends at once. A part leaves its out, maximum and total; the
last one of a request and kv head to be done puts them together, without a launch of its own:

    m = max over parts,  out = sum(2^(m_part - m) out_part) / sum(2^(m_part - m) total_part)

    parts_out     [B, KVH, splits, ROWS, DIM] fp32, ROWS = max_queries * HEADS
    parts_stats   [B, KVH, splits, ROWS, 2] fp32: maximum (in units of log2) and total
    arrived       [B * KVH] int32, how many parts are done: 0 between launches, for the last one sets it back
"""

from __future__ import annotations

import triton
import triton.language as tl

from llmrt_kernels.triton.attention_output import store_heads
from llmrt_kernels.triton.attention_tiles import LOWEST, attend, query_factor, rows_of
from llmrt_kernels.triton.overlap import begin, wait


@triton.jit(
    do_not_specialize=["table_width", "window", "splits", "max_queries"],
    do_not_specialize_on_alignment=["table_ptr", "starts_ptr", "lengths_ptr"],
)
def decode_kernel(
    q_ptr, k_ptr, v_ptr, k_scales_ptr, v_scales_ptr, table_ptr, starts_ptr, lengths_ptr,
    out_ptr, out_scales_ptr, out_sums_ptr, parts_out_ptr, parts_stats_ptr, arrived_ptr,
    table_width, kv_heads, scale_log2, bend, slopes_ptr, window, splits, max_queries,
    HEADS: tl.constexpr, DIM: tl.constexpr, DIM_PADDED: tl.constexpr, PAGE: tl.constexpr, CODE_GROUP: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, ROWS: tl.constexpr, PARTS: tl.constexpr, STAGES: tl.constexpr,
    ASM: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """Requests of more than max_queries new tokens are left out. With one split the result goes to ``out`` at once."""
    begin(OVERLAP)
    wait(OVERLAP)
    split = tl.program_id(0)
    kv_head = tl.program_id(1)
    b = tl.program_id(2)
    start = tl.load(starts_ptr + b).to(tl.int32)
    queries = tl.load(starts_ptr + b + 1).to(tl.int32) - start
    length = tl.load(lengths_ptr + b).to(tl.int32)
    first_tile, end_tile, tiles_each = split_tiles(queries, length, window, splits, BLOCK_N)
    begin_tile = first_tile + split * tiles_each
    if (queries > max_queries) | (begin_tile >= end_tile):
        return

    heads = kv_heads * HEADS
    token, head, valid = rows_of(start, 0, queries, kv_head, HEADS, BLOCK_M)
    d = tl.arange(0, DIM_PADDED)
    at = (token * heads + head)[:, None] * DIM + d[None, :]
    if slopes_ptr is not None:
        slopes_ptr += head
    q = query_factor(tl.load(q_ptr + at, mask=valid[:, None] & (d < DIM)[None, :], other=0), k_ptr)

    row = tl.arange(0, BLOCK_M)
    out, most, total = attend(
        q, length - queries + row // HEADS, length - queries, length - 1,
        k_ptr, v_ptr, k_scales_ptr, v_scales_ptr, table_ptr + b.to(tl.int64) * table_width, kv_head, kv_heads,
        begin_tile, tl.minimum(begin_tile + tiles_each, end_tile), scale_log2, bend, slopes_ptr, window,
        DIM, PAGE, BLOCK_N, STAGES, ASM,
    )  # fmt: skip
    if parts_out_ptr is None:
        out *= (1.0 / total)[:, None]
        store_heads(out, token, head, valid, heads, out_ptr, out_scales_ptr, out_sums_ptr, DIM, CODE_GROUP)
    else:
        place = b * kv_heads + kv_head
        rows = max_queries * HEADS
        first_part = place.to(tl.int64) * splits
        part = (first_part + split) * rows + row
        tl.store(parts_stats_ptr + part * 2, most, mask=valid)
        tl.store(parts_stats_ptr + part * 2 + 1, total, mask=valid)
        tl.store(parts_out_ptr + part[:, None] * DIM + d[None, :], out, mask=valid[:, None] & (d < DIM)[None, :])
        used = tl.cdiv(end_tile - first_tile, tiles_each)
        wait_for_stores(row, ASM)
        tl.debug_barrier()  # what all threads have stored comes before the arrival
        if tl.atomic_add(arrived_ptr + place, 1) == used - 1:
            tl.store(arrived_ptr + place, 0)
            own_rows = queries * HEADS
            result = joined(
                parts_out_ptr, parts_stats_ptr, first_part, used, rows, own_rows, DIM, DIM_PADDED, ROWS, PARTS
            )
            to, of, there = rows_of(start, 0, queries, kv_head, HEADS, ROWS)
            store_heads(result, to, of, there, heads, out_ptr, out_scales_ptr, out_sums_ptr, DIM, CODE_GROUP)


@triton.jit
def wait_for_stores(x, ASM: tl.constexpr):
    """Each wave waits until the others can see what it stored: a barrier does not see to that on CDNA."""
    if ASM == "gfx9":
        tl.inline_asm_elementwise(
            "s_waitcnt vmcnt(0)\nv_mov_b32 $0, $1", "=v,v", [x], dtype=tl.int32, is_pure=False, pack=1
        )


@triton.jit
def joined(
    parts_out_ptr, parts_stats_ptr, first_part, used, room, rows,
    DIM: tl.constexpr, DIM_PADDED: tl.constexpr, ROWS: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """The result [ROWS, DIM_PADDED] of ``used`` parts, PARTS of them at a time, with ``rows`` in the ``room`` of each.

    Other multiprocessors wrote them: they are read from the cache that all have in common.
    """
    row, d = tl.arange(0, ROWS), tl.arange(0, DIM_PADDED)
    out = tl.zeros([ROWS, DIM_PADDED], tl.float32)
    most = tl.full([ROWS], LOWEST, tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    for i in tl.range(0, used, PARTS):
        split = i + tl.arange(0, PARTS)
        there = (row < rows)[:, None] & (split < used)[None, :]
        part = (first_part + split)[None, :] * room + row[:, None]
        part_most = tl.load(parts_stats_ptr + part * 2, mask=there, other=LOWEST, cache_modifier=".cg")
        part_total = tl.load(parts_stats_ptr + part * 2 + 1, mask=there, other=0, cache_modifier=".cg")
        inside = there[:, :, None] & (d < DIM)[None, None, :]
        at = part[:, :, None] * DIM + d[None, None, :]
        part_out = tl.load(parts_out_ptr + at, mask=inside, other=0, cache_modifier=".cg")
        new_most = tl.maximum(most, tl.max(part_most, 1))
        keep = tl.exp2(most - new_most)
        weight = tl.exp2(part_most - new_most[:, None])
        total = total * keep + tl.sum(weight * part_total, 1)
        out = out * keep[:, None] + tl.sum(weight[:, :, None] * part_out, 1)
        most = new_most
    return out * (1.0 / total)[:, None]


@triton.jit
def split_tiles(queries, length, window, splits, BLOCK_N: tl.constexpr):
    """The tiles that a request's queries see, first and end, and how many of them a split has."""
    first = tl.maximum(length - queries - window + 1, 0) // BLOCK_N
    end = tl.cdiv(length, BLOCK_N)
    return first, end, tl.cdiv(end - first, splits)
