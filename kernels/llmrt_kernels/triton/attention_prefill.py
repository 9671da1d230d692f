"""Attention of prompts, or of pieces of them: a program has one kv head and BLOCK_M // HEADS queries of one request.

The tiles of queries of all requests are numbered through: request b has those from cu_seqlens_q[b] // QUERIES + b on,
of which the last may be empty. So their number is known without asking the device for the lengths.
"""

from __future__ import annotations

import triton
import triton.language as tl

from llmrt_kernels.triton.attention_output import store_heads
from llmrt_kernels.triton.attention_tiles import attend, query_factor, rows_of


@triton.jit(
    do_not_specialize=["requests", "table_width", "window", "min_queries"],
    do_not_specialize_on_alignment=["table_ptr", "starts_ptr", "lengths_ptr"],
)
def prefill_kernel(
    q_ptr, k_ptr, v_ptr, k_scales_ptr, v_scales_ptr, table_ptr, starts_ptr, lengths_ptr,
    out_ptr, out_scales_ptr, out_sums_ptr,
    requests, table_width, kv_heads, scale_log2, bend, slopes_ptr, window, min_queries,
    HEADS: tl.constexpr, DIM: tl.constexpr, DIM_PADDED: tl.constexpr, PAGE: tl.constexpr, CODE_GROUP: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, STAGES: tl.constexpr, ASM: tl.constexpr,
):  # fmt: skip
    """Requests of fewer than ``min_queries`` new tokens are left out. Shapes: ``paged_attention``."""
    QUERIES: tl.constexpr = BLOCK_M // HEADS
    # The last queries of a prompt see most keys: they come first, so that no program ends long after the others.
    tile = tl.num_programs(0) - 1 - tl.program_id(0)
    kv_head = tl.program_id(1)
    b = request_of(tile, starts_ptr, requests, QUERIES)
    start = tl.load(starts_ptr + b).to(tl.int32)
    queries = tl.load(starts_ptr + b + 1).to(tl.int32) - start
    from_query = (tile - start // QUERIES - b) * QUERIES
    if (from_query >= queries) | (queries < min_queries):
        return

    heads = kv_heads * HEADS
    token, head, valid = rows_of(start, from_query, queries, kv_head, HEADS, BLOCK_M)
    d = tl.arange(0, DIM_PADDED)
    at = (token * heads + head)[:, None] * DIM + d[None, :]
    if slopes_ptr is not None:
        slopes_ptr += head
    q = query_factor(tl.load(q_ptr + at, mask=valid[:, None] & (d < DIM)[None, :], other=0), k_ptr)

    length = tl.load(lengths_ptr + b).to(tl.int32)
    first_position = length - queries + from_query
    last_position = tl.minimum(first_position + QUERIES, length) - 1
    out, _, total = attend(
        q, first_position + tl.arange(0, BLOCK_M) // HEADS, first_position, last_position,
        k_ptr, v_ptr, k_scales_ptr, v_scales_ptr, table_ptr + b.to(tl.int64) * table_width, kv_head, kv_heads,
        tl.maximum(first_position - window + 1, 0) // BLOCK_N, last_position // BLOCK_N + 1,
        scale_log2, bend, slopes_ptr, window,
        DIM, PAGE, BLOCK_N, STAGES, ASM,
    )  # fmt: skip
    out *= (1.0 / total)[:, None]
    # Read anew: what follows from the first reading would take registers through the loops until now.
    start = tl.load(starts_ptr + b, volatile=True).to(tl.int32)
    from_query = (tile - start // QUERIES - b) * QUERIES
    token, head, valid = rows_of(start, from_query, queries, kv_head, HEADS, BLOCK_M)
    store_heads(out, token, head, valid, heads, out_ptr, out_scales_ptr, out_sums_ptr, DIM, CODE_GROUP)


@triton.jit
def request_of(tile, starts_ptr, requests, QUERIES: tl.constexpr):
    """The request that a tile of queries belongs to, by bisection: the last whose tiles begin at it or before."""
    low = tile * 0
    high = requests
    while high - low > 1:
        middle = (low + high) // 2
        begin = tl.load(starts_ptr + middle).to(tl.int32) // QUERIES + middle
        low = tl.where(begin <= tile, middle, low)
        high = tl.where(begin <= tile, high, middle)
    return low
