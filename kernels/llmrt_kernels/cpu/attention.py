"""Attention over pages. The contract is the reference's."""

from __future__ import annotations

import torch
from torch import Tensor

from llmrt_kernels.cpu.linear import empty_activations
from llmrt_kernels.cpu.structs import ActivationsArgs, CacheArgs, PagedAttentionArgs, address
from llmrt_kernels.cpu.tape import submit
from llmrt_kernels.packed import Codes, Rows

CHUNK_KEYS = 512  # kChunkKeys of the kernel


def paged_attention(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    k_scales: Tensor | None,
    v_scales: Tensor | None,
    block_table: Tensor,
    cu_seqlens_q: Tensor,
    seq_lens: Tensor,
    max_query_len: int,
    scale: float,
    sliding_window: int | None,
    group: int,
    dtype: torch.dtype = torch.float32,
) -> Codes | Rows:
    """q [T, H, D] fp32 -> [T, H D] in int8, or in ``dtype`` where ``group`` is 0."""
    del max_query_len
    out, y = torch.empty_like(q), empty_activations(q.shape[0], q.shape[1] * q.shape[2], group, dtype)
    attend(
        q,
        k_cache,
        v_cache,
        k_scales,
        v_scales,
        block_table,
        cu_seqlens_q,
        seq_lens,
        scale,
        sliding_window,
        out,
        y,
    )
    return y


def attend(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    k_scales: Tensor | None,
    v_scales: Tensor | None,
    block_table: Tensor,
    cu_seqlens_q: Tensor,
    seq_lens: Tensor,
    scale: float,
    sliding_window: int | None,
    out: Tensor,
    y: Codes | Rows,
) -> None:
    """As ``paged_attention``; leaves the result in ``out`` [T, H, D] fp32 too."""
    _, kv_heads, block_size, head_dim = k_cache.shape
    requests, table_width = block_table.shape
    tokens, heads, _ = q.shape
    # One chunk more than the keys fill: a sliding window need not begin at a border of chunks.
    max_chunks = -(-table_width * block_size // CHUNK_KEYS) + 1
    partial = torch.empty(requests, kv_heads, max_chunks, heads // kv_heads, head_dim + 2)
    args = PagedAttentionArgs(
        address(q),
        CacheArgs.of(k_cache, v_cache, k_scales, v_scales),
        address(block_table),
        address(cu_seqlens_q),
        address(seq_lens),
        address(out),
        address(partial),
        ActivationsArgs.of(y),
        tokens,
        requests,
        table_width,
        heads,
        max_chunks,
        sliding_window or 0,
        scale,
    )
    pages = (k_cache, v_cache, k_scales, v_scales)
    submit("paged_attention", args, q, *pages, block_table, cu_seqlens_q, seq_lens, out, partial, y)
