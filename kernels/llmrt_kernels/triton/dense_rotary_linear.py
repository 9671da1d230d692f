"""Queries, keys and values with weights of floats, RoPE, and keys and values into the cache: see the reference.

Up to ``FEW`` tokens a program computes a few rows of the left half of a head and those that are rotated with them, of
the right half. A norm, or a cache of bytes, whose scales are of whole heads, takes a second launch: whole heads would
be too few programs to keep a large device busy.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.head_norm import HeadNorm
from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.triton.dense_linear import linear, plus
from llmrt_kernels.triton.integers import cdiv
from llmrt_kernels.triton.overlap import begin
from llmrt_kernels.triton.product_dense import product_arguments, product_dense
from llmrt_kernels.triton.rope_kv_write import rope_kv_write, turn_and_store
from llmrt_kernels.triton.tiles import DENSE_ROWS, FEW


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
    """x [T, K] -> rotated queries [T, H, D] of x's type; keys and values go to the cache."""
    turn = positions, cos_sin, slot_mapping
    if len(x) > FEW or head_norm is not None or kv.k_scales is not None:
        return rope_kv_write(linear(x, weight, bias, delta), *turn, kv, head_norm)
    _, kv_heads, block_size, head_dim = kv.k.shape
    all_heads, pairs = len(weight) // head_dim, DENSE_ROWS // 2
    q = torch.empty(len(x), all_heads - 2 * kv_heads, head_dim, dtype=x.dtype, device=x.device)
    dense_rotary_kernel[(cdiv(head_dim // 2, pairs), all_heads)](
        x,
        weight,
        bias,
        delta,
        *turn,
        kv.k,
        kv.v,
        q,
        H=q.shape[1],
        KVH=kv_heads,
        D=head_dim,
        PAGE=block_size,
        PAIRS=pairs,
        **product_arguments(x, weight),
    )
    return q


@triton.jit(do_not_specialize=["tokens", "columns"])
def dense_rotary_kernel(
    x_ptr,
    w_ptr,
    bias_ptr,
    delta_ptr,
    positions_ptr,
    cos_sin_ptr,
    slots_ptr,
    k_ptr,
    v_ptr,
    q_ptr,
    tokens,
    columns,
    H: tl.constexpr,
    KVH: tl.constexpr,
    D: tl.constexpr,
    PAGE: tl.constexpr,
    PAIRS: tl.constexpr,
    K: tl.constexpr,
    TOKENS: tl.constexpr,
    COLUMNS: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """A program computes PAIRS pairs of values of a head, of all tokens."""
    begin(OVERLAP)
    head = tl.program_id(1) + tl.zeros([1, 1], tl.int32)
    i = (tl.program_id(0) * PAIRS + tl.arange(0, PAIRS))[None, :]
    r = tl.arange(0, 2 * PAIRS)
    row = tl.minimum(tl.program_id(0) * PAIRS + r % PAIRS, D // 2 - 1) + r // PAIRS * (D // 2)
    row = tl.program_id(1).to(tl.int64) * D + row
    results = product_dense(x_ptr, tokens, w_ptr, row, columns, K, TOKENS, COLUMNS, OVERLAP)
    turn, cache = (positions_ptr, cos_sin_ptr, slots_ptr), (k_ptr, v_ptr, None, None)
    no_norm = (None, None, 0.0, 0, 0, (0.0, 0.0))
    for t in tl.static_range(TOKENS):
        token = tl.minimum(t, tokens - 1).to(tl.int64)
        result = plus(results[t], bias_ptr, delta_ptr, token, row, (H + 2 * KVH) * D)
        x1, x2 = tl.split(tl.permute(tl.reshape(result, [1, 2, PAIRS]), [0, 2, 1]))
        inside = (i < D // 2) & (t < tokens)
        turn_and_store(x1, x2, token, head, i, inside, no_norm, turn, cache, q_ptr, H, KVH, D, PAGE)
