"""Attention over pages. The contract is the reference's."""

from __future__ import annotations

import torch
from torch import Tensor

from llmrt_kernels.cpu.addresses import activations_args, address, cache_args
from llmrt_kernels.cpu.linear import empty_activations
from llmrt_kernels.cpu.structs import CHUNK_KEYS, FEW_QUERIES, MOST_CHUNKS, PagedAttentionArgs
from llmrt_kernels.cpu.tape import submit
from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.packed import Codes, Rows


def paged_attention(
    q: Tensor,
    kv: LayerKVCache,
    block_table: Tensor,
    cu_seqlens_q: Tensor,
    seq_lens: Tensor,
    max_query_len: int,
    scale: float,
    sliding_window: int | None,
    group: int,
    dtype: torch.dtype = torch.float32,
    out: Tensor | None = None,
    *,
    cap: float = 0.0,
    slopes: Tensor | None = None,
) -> Codes | Rows:
    """q [T, H, D] fp32 -> [T, H D] in int8, or in ``dtype`` where ``group`` is 0; as fp32 in ``out`` [T, H, D] too."""
    del max_query_len
    tokens, heads, head_dim = q.shape
    requests, table_width = block_table.shape
    out = torch.empty_like(q) if out is None else out
    y = empty_activations(tokens, heads * head_dim, group, dtype)
    max_pieces = pieces_of(table_width * kv.k.shape[2])
    partial = torch.empty(min(tokens, FEW_QUERIES * requests), heads, max_pieces, head_dim + 17)
    args = PagedAttentionArgs(
        address(q),
        cache_args(kv),
        address(block_table),
        address(cu_seqlens_q),
        address(seq_lens),
        address(out),
        address(partial),
        activations_args(y),
        tokens,
        requests,
        table_width,
        heads,
        max_pieces,
        sliding_window or 0,
        scale,
        cap,
        address(slopes),
    )
    submit("paged_attention", args, q, kv, block_table, cu_seqlens_q, seq_lens, out, partial, y, slopes)
    return y


def pieces_of(keys: int) -> int:
    """Chunks that a few queries over ``keys`` keys can have."""
    # One more than the keys fill: a sliding window need not begin where a chunk does.
    return min(MOST_CHUNKS, -(-keys // CHUNK_KEYS)) + 1
