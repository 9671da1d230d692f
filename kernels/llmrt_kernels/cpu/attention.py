"""RoPE with the write to the cache, and attention over its pages. The contracts are those of the references."""

from __future__ import annotations

import torch
from torch import Tensor

from llmrt_kernels.cpu.structs import CACHE_DTYPES, PagedAttentionArgs, RopeKvWriteArgs, address
from llmrt_kernels.cpu.tape import submit

CHUNK_KEYS = 256  # kChunkKeys of the kernel


def rope_kv_write(
    qkv: Tensor, positions: Tensor, cos_sin: Tensor, slot_mapping: Tensor, k_cache: Tensor, v_cache: Tensor
) -> Tensor:
    """qkv [T, (H + 2 KVH) D] fp32 -> rotated queries [T, H, D]; keys and values go to the caches."""
    _, kv_heads, block_size, head_dim = k_cache.shape
    heads = qkv.shape[1] // head_dim - 2 * kv_heads
    q = torch.empty(qkv.shape[0], heads, head_dim)
    args = RopeKvWriteArgs(
        address(qkv),
        address(positions),
        address(cos_sin),
        address(slot_mapping),
        address(k_cache),
        address(v_cache),
        address(q),
        qkv.shape[0],
        heads,
        kv_heads,
        head_dim,
        block_size,
        CACHE_DTYPES[k_cache.dtype],
    )
    submit("rope_kv_write", args, qkv, positions, cos_sin, slot_mapping, k_cache, v_cache, q)
    return q


def paged_attention(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_table: Tensor,
    cu_seqlens_q: Tensor,
    seq_lens: Tensor,
    scale: float,
    sliding_window: int | None,
) -> Tensor:
    """q [T, H, D] fp32 -> [T, H, D]."""
    _, kv_heads, block_size, head_dim = k_cache.shape
    requests, table_width = block_table.shape
    heads = q.shape[1]
    # One chunk more than the keys fill: a sliding window need not begin at a border of chunks.
    max_chunks = -(-table_width * block_size // CHUNK_KEYS) + 1
    out = torch.empty_like(q)
    partial = torch.empty(requests, kv_heads, max_chunks, heads // kv_heads, head_dim + 2)
    args = PagedAttentionArgs(
        address(q),
        address(k_cache),
        address(v_cache),
        address(block_table),
        address(cu_seqlens_q),
        address(seq_lens),
        address(out),
        address(partial),
        requests,
        table_width,
        heads,
        kv_heads,
        head_dim,
        block_size,
        max_chunks,
        sliding_window or 0,
        scale,
        CACHE_DTYPES[k_cache.dtype],
    )
    submit("paged_attention", args, q, k_cache, v_cache, block_table, cu_seqlens_q, seq_lens, out, partial)
    return out
