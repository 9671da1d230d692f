"""Rotate queries and keys by their positions, and write keys and values to the paged cache.

RoPE in the half-split form of the published safetensors (https://arxiv.org/abs/2104.09864, Hugging Face layout):
with the left half x1 and the right half x2 of a head, and the angle a[p, i] = p * inv_freq[i],

    y1 = x1 cos(a) - x2 sin(a)
    y2 = x2 cos(a) + x1 sin(a)

    qkv row      [ q heads: H * D | k heads: KVH * D | v heads: KVH * D ]
    cache        [blocks, KVH, block_size, D]; slot s is block s // block_size, offset s % block_size
    int8         x = scale * code with scale = largest / 127 for each token and head, [blocks, KVH, block_size] fp32
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from llmrt_kernels.head_norm import HeadNorm
from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.reference.rms_norm import rms_norm


def rope_kv_write(
    qkv: Tensor,
    positions: Tensor,
    cos_sin: Tensor,
    slot_mapping: Tensor,
    kv: LayerKVCache,
    head_norm: HeadNorm | None = None,
) -> Tensor:
    """Rotate and store. Returns the rotated queries [T, H, D]; keys and values go to the cache in its dtype.

    qkv [T, (H + 2 KVH) D]; positions, slot_mapping [T] int64; cos_sin [P, 2, D/2] fp32, row p for position p.
    With ``head_norm`` queries and keys are normalised first.
    """
    _, num_kv_heads, block_size, head_dim = kv.k.shape
    heads = qkv.view(qkv.shape[0], -1, head_dim)
    q, k, v = heads.split([heads.shape[1] - 2 * num_kv_heads, num_kv_heads, num_kv_heads], dim=1)
    if head_norm is not None:
        normalised = _centred if head_norm.centred else _normalised
        q, k = normalised(q, head_norm.q, head_norm.eps), normalised(k, head_norm.k, head_norm.eps)
    cos, sin = cos_sin[positions].unsqueeze(2).unbind(1)  # [T, 1, D/2] each
    block, offset = slot_mapping // block_size, slot_mapping % block_size
    for x, cache, scales in ((rotate(k, cos, sin), kv.k, kv.k_scales), (v, kv.v, kv.v_scales)):
        if scales is None:
            cache[block, :, offset] = x.to(cache.dtype)
        else:
            cache[block, :, offset], scales[block, :, offset] = _to_int8(x)
    return rotate(q, cos, sin)


def _normalised(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x [T, heads, D] by a weight [D] of each head or [heads D] of all at once."""
    return rms_norm(x.flatten(1).unflatten(1, (-1, len(weight))), weight, eps).view(x.shape)


def _centred(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """LayerNorm of each head of x [T, heads, D] by weights [heads, D]."""
    return (F.layer_norm(x.float(), x.shape[-1:], eps=eps) * weight.float()).to(x.dtype)


def _to_int8(x: Tensor) -> tuple[Tensor, Tensor]:
    """x [T, heads, D] -> (codes of its shape, scales [T, heads])."""
    largest = x.float().abs().amax(-1)
    inverse = torch.where(largest > 0, 127 / largest, 0)
    return (x * inverse.unsqueeze(-1)).round().to(torch.int8), largest / 127


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate heads. x [T, heads, D], cos and sin [T, 1, D/2] fp32 -> [T, heads, D] of x's dtype."""
    x1, x2 = x.float().chunk(2, dim=-1)
    return torch.cat((x1 * cos - x2 * sin, x2 * cos + x1 * sin), dim=-1).to(x.dtype)
