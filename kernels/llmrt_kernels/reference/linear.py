"""Dense matrix product, y = x W^T + b + r, and what is computed right after it.

A weight of another type than x is converted a few rows at a time, so that it is never held twice.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from llmrt_kernels.head_norm import HeadNorm
from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.reference.activation import activation, gated_activation
from llmrt_kernels.reference.rope_kv_write import rope_kv_write

STRIP_VALUES = 1 << 20  # of a weight that are converted at once


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None = None) -> Tensor:
    """x [T, K], weight [N, K], bias [N], residual [T, N] -> [T, N] of x's type."""
    y = F.linear(x, weight, bias) if weight.dtype == x.dtype else _by_strips(x, weight, bias)
    return y if residual is None else residual + y


def _by_strips(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    strips = weight.split(max(1, STRIP_VALUES // weight.shape[1]))
    y = torch.cat([F.linear(x, rows.to(x.dtype)) for rows in strips], dim=1)
    return y if bias is None else y + bias


def gated_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, name: str = "silu", *, delta: Tensor | None = None
) -> Tensor:
    """activation(gate) * up of x W^T + bias + delta. x [T, K], weight [2 I, K], gate above up -> [T, I].

    The activation is the one called ``name``; bias [2 I], delta [T, 2 I].
    """
    return gated_activation(linear(x, weight, bias, delta), name)


def activated_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, name: str, *, delta: Tensor | None = None
) -> Tensor:
    """The activation called ``name`` of x W^T + bias + delta. x [T, K], weight [I, K] -> [T, I]."""
    return activation(linear(x, weight, bias, delta), name)


def rotary_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    positions: Tensor,
    cos_sin: Tensor,
    slot_mapping: Tensor,
    kv: LayerKVCache,
    head_norm: HeadNorm | None = None,
    *,
    delta: Tensor | None = None,
) -> Tensor:
    """Queries, keys and values of x W^T + bias + delta. x [T, K], weight [(H + 2 KVH) D, K] -> rotated queries
    [T, H, D]; keys are rotated too, and keys and values written to the cache: see ``rope_kv_write``.
    """
    qkv = linear(x, weight, bias, delta)
    return rope_kv_write(qkv, positions, cos_sin, slot_mapping, kv, head_norm)
