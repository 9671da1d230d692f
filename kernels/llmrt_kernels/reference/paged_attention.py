"""Attention of new queries over a paged KV cache: causal, grouped-query, with an optional sliding window.

For a request with L keys in the cache of which the last n are its new tokens, query i (0 <= i < n) stands at
position p = L - n + i and sees the keys

    max(0, p - window + 1) .. p

and o = softmax(q k^T * scale) v over them. With slopes (ALiBi, https://arxiv.org/abs/2108.12409) a score of head h with
the key at j has slopes[h] * (j - p) added. H query heads share KVH key/value heads in groups of H / KVH.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from llmrt_kernels.kv_cache import LayerKVCache


def paged_attention(
    q: Tensor,
    kv: LayerKVCache,
    block_table: Tensor,
    cu_seqlens_q: Tensor,
    seq_lens: Tensor,
    max_query_len: int,
    scale: float,
    sliding_window: int | None,
    group: int = 0,
    *,
    cap: float = 0.0,
    slopes: Tensor | None = None,
) -> Tensor:
    """Attend. q [T, H, D] -> [T, H D]; the queries of request b are rows cu_seqlens_q[b] to cu_seqlens_q[b+1].

    block_table [B, N]; cu_seqlens_q [B+1]; seq_lens [B], all keys
    of the request with the new ones, which are in the cache already; max_query_len: no request has more new tokens, for
    those who cannot look at cu_seqlens_q without waiting. Entries of block_table left of the window
    are never read. A cache of bytes is not served. Where the product that follows
    takes int8 activations, ``group`` of them share a scale; here they stay what they are. A ``cap`` c that is not 0
    makes c tanh(s / c) of a score s before the softmax; ``slopes`` [H] fp32 are those of ALiBi, or None.
    """
    assert kv.k_scales is None and kv.v_scales is None
    del group, max_query_len
    out = torch.empty_like(q)
    starts = cu_seqlens_q.tolist()
    for b, kv_len in enumerate(seq_lens.tolist()):
        rows = slice(starts[b], starts[b + 1])
        first_position = kv_len - (rows.stop - rows.start)
        first_key = 0 if sliding_window is None else max(0, first_position - sliding_window + 1)
        k, v = (_gather(cache, block_table[b], first_key, kv_len, q.dtype) for cache in (kv.k, kv.v))
        positions, keys = (
            torch.arange(first, kv_len, dtype=torch.int32, device=q.device) for first in (first_position, first_key)
        )
        distance = keys - positions.unsqueeze(1)
        visible = distance <= 0 if sliding_window is None else (distance <= 0) & (distance > -sliding_window)
        if cap:
            assert slopes is None
            out[rows] = _capped(q[rows], k, v, visible, scale, cap)
        elif slopes is not None:
            bias = (slopes.view(-1, 1, 1) * distance).masked_fill(~visible, float("-inf"))
            out[rows] = _attend(q[rows], k, v, bias.to(q.dtype), scale)
        else:
            causal = first_position == 0 and sliding_window is None  # torch passes over keys that a mask hides
            sees_all = causal or len(positions) == 1
            out[rows] = _attend(q[rows], k, v, None if sees_all else visible, scale, causal=causal)
    return out.flatten(1)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, *, causal: bool = False) -> Tensor:
    """Attention of q [queries, H, D] over k, v [KVH, keys, D]."""
    q, k, v = q.transpose(0, 1).unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0)
    o = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=scale, enable_gqa=True)
    return o[0].transpose(0, 1)


def _capped(q: Tensor, k: Tensor, v: Tensor, visible: Tensor, scale: float, cap: float) -> Tensor:
    """The same with scores that are bent to stay below ``cap``."""
    k, v = (t.repeat_interleave(q.shape[1] // len(t), dim=0) for t in (k, v))
    scores = cap * torch.tanh(torch.einsum("qhd,hkd->hqk", q, k).float() * (scale / cap))
    weights = scores.masked_fill(~visible, float("-inf")).softmax(-1)
    return torch.einsum("hqk,hkd->qhd", weights.to(v.dtype), v)


def _gather(cache: Tensor, blocks: Tensor, start: int, end: int, dtype: torch.dtype) -> Tensor:
    """Keys (or values) at positions start to end of one request, as [KVH, end - start, D]."""
    _, num_kv_heads, block_size, head_dim = cache.shape
    first, last = start // block_size, -(-end // block_size)
    pages = cache[blocks[first:last]].transpose(0, 1).reshape(num_kv_heads, -1, head_dim)
    return pages[:, start - first * block_size : end - first * block_size].to(dtype)
