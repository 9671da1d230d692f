"""Normalise and rotate queries and keys, and write keys and values to the paged cache: see the reference.

A cache of int8 or fp8 has a scale for each token and head, largest / 127 or 448, fp32 [blocks, KVH, block_size].
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.head_norm import HeadNorm
from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.triton.codes import nearest
from llmrt_kernels.triton.fp8 import pages_of, to_fp8
from llmrt_kernels.triton.integers import cdiv, next_power_of_2
from llmrt_kernels.triton.variant import Variant

HEADS = 8  # of a token that one program turns
READ = tl.constexpr(1024)  # values of a token that are read at a time for a mean over all heads


def rope_kv_write(
    qkv: Tensor,
    positions: Tensor,
    cos_sin: Tensor,
    slot_mapping: Tensor,
    kv: LayerKVCache,
    head_norm: HeadNorm | None = None,
    q_dtype: torch.dtype | None = None,
) -> Tensor:
    """Rotate and store. Returns the rotated queries [T, H, D] in ``q_dtype``, else in the type of ``qkv``; keys and
    values go to the cache in its dtype.

    qkv [T, (H + 2 KVH) D]; positions, slot_mapping [T] int64; cos_sin [P, 2, D/2] fp32, row p for position p.
    With ``head_norm`` queries and keys are normalised first.
    """
    _, kv_heads, block_size, head_dim = kv.k.shape
    tokens, all_heads = qkv.shape[0], qkv.shape[1] // head_dim
    heads = all_heads - 2 * kv_heads
    q = qkv.new_empty(tokens, heads, head_dim, dtype=q_dtype)
    rope_kv_write_kernel[(tokens, cdiv(all_heads, HEADS))](
        qkv,
        positions,
        cos_sin,
        slot_mapping,
        *pages_of(kv),
        q,
        *norm_arguments(head_norm, head_dim),
        H=heads,
        KVH=kv_heads,
        D=head_dim,
        PAGE=block_size,
        HEADS=HEADS,
        HALF=next_power_of_2(head_dim // 2),
    )
    return q


def norm_arguments(head_norm: HeadNorm | None, head_dim: int) -> tuple[Tensor | None, Tensor | None, float, int, int]:
    """As kernels take it: weights, eps, from one head's weights to the next one's, whether LayerNorm."""
    if head_norm is None:
        return None, None, 0.0, 0, 0
    stride = head_dim if head_norm.q.numel() > head_dim else 0
    return head_norm.q, head_norm.k, head_norm.eps, stride, int(head_norm.centred)


@triton.jit(do_not_specialize=["norm_stride", "norm_centred"])
def rope_kv_write_kernel(
    qkv_ptr,
    positions_ptr,
    cos_sin_ptr,
    slots_ptr,
    k_ptr,
    v_ptr,
    k_scales_ptr,
    v_scales_ptr,
    q_ptr,
    q_norm_ptr,
    k_norm_ptr,
    norm_eps,
    norm_stride,
    norm_centred,
    H: tl.constexpr,
    KVH: tl.constexpr,
    D: tl.constexpr,
    PAGE: tl.constexpr,
    HEADS: tl.constexpr,
    HALF: tl.constexpr,
):
    """A program turns HEADS of a token's H + 2 KVH heads, as two halves [HEADS, HALF]."""
    t = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * HEADS + tl.arange(0, HEADS)[:, None]
    i = tl.arange(0, HALF)[None, :]
    inside = (i < D // 2) & (head < H + 2 * KVH)
    row_ptr = qkv_ptr + t * (H + 2 * KVH) * D
    x_ptr = row_ptr + head * D + i
    x1 = tl.load(x_ptr, mask=inside, other=0.0).to(tl.float32)
    x2 = tl.load(x_ptr + D // 2, mask=inside, other=0.0).to(tl.float32)
    cache = (k_ptr, v_ptr, k_scales_ptr, v_scales_ptr)
    means = (0.0, 0.0)
    if q_norm_ptr is not None:
        of_rows = (norm_stride > 0) & (norm_centred == 0)
        means = (mean_square(row_ptr, H * D, of_rows), mean_square(row_ptr + H * D, KVH * D, of_rows))
    norm = (q_norm_ptr, k_norm_ptr, norm_eps, norm_stride, norm_centred, means)
    turn = (positions_ptr, cos_sin_ptr, slots_ptr)
    turn_and_store(x1, x2, t, head, i, inside, norm, turn, cache, q_ptr, H, KVH, D, PAGE)


@triton.jit
def turn_and_store(
    x1,
    x2,
    t,
    head,
    i,
    inside,
    norm,
    turn,
    cache,
    q_ptr,
    H: tl.constexpr,
    KVH: tl.constexpr,
    D: tl.constexpr,
    PAGE: tl.constexpr,
):
    """Halves x1, x2 [n, HALF] fp32 of heads ``head`` [n, 1] of token t (int64) go where they belong; i [1, HALF]."""
    positions_ptr, cos_sin_ptr, slots_ptr = turn
    k_ptr, v_ptr, k_scales_ptr, v_scales_ptr = cache
    is_query, is_value = head < H, head >= H + KVH
    x1, x2 = normalised(x1, x2, head, i, norm, H, KVH, D)
    angle_ptr = cos_sin_ptr + tl.load(positions_ptr + t) * D + i
    cos = tl.load(angle_ptr, mask=i < D // 2, other=0.0)
    sin = tl.load(angle_ptr + D // 2, mask=i < D // 2, other=0.0)
    y1 = tl.where(is_value, x1, x1 * cos - x2 * sin)
    y2 = tl.where(is_value, x2, x2 * cos + x1 * sin)

    store_halves(q_ptr + (t * H + head) * D + i, y1, y2, D // 2, inside & is_query)

    slot = tl.load(slots_ptr + t)
    kv_head = tl.where(is_value, head - KVH, head) - H
    row = (slot // PAGE * KVH + kv_head) * PAGE + slot % PAGE
    is_key = (head >= H) & (head < H + KVH)
    is_value = is_value & (head < H + 2 * KVH)
    if k_scales_ptr is not None:
        IS_FP8: tl.constexpr = k_ptr.dtype.element_ty == tl.uint8
        END: tl.constexpr = 448.0 if IS_FP8 else 127.0
        largest = tl.max(tl.maximum(tl.abs(y1), tl.abs(y2)), 1)[:, None]
        inverse = tl.where(largest > 0, tl.div_rn(END, largest), 0.0)
        y1, y2 = y1 * inverse, y2 * inverse
        if IS_FP8:
            y1, y2 = to_fp8(y1), to_fp8(y2)
        else:
            y1, y2 = nearest(y1), nearest(y2)
        tl.store(k_scales_ptr + row, tl.div_rn(largest, END), mask=is_key)
        tl.store(v_scales_ptr + row, tl.div_rn(largest, END), mask=is_value)
    store_halves(k_ptr + row * D + i, y1, y2, D // 2, inside & is_key)
    store_halves(v_ptr + row * D + i, y1, y2, D // 2, inside & is_value)


@triton.jit
def normalised(x1, x2, head, i, norm, H: tl.constexpr, KVH: tl.constexpr, D: tl.constexpr):
    """The heads of queries and keys normalised as ``HeadNorm`` says, if there are weights for it.

    With a stride each head has weights of its own; it is LayerNorm then if centred, else RMSNorm of all heads at once,
    whose mean squares of queries and of keys are given.
    """
    q_norm_ptr, k_norm_ptr, eps, stride, centred, means = norm
    q_mean, k_mean = means
    if q_norm_ptr is not None:
        there, is_query, is_value = i < D // 2, head < H, head >= H + KVH
        centre = tl.where(centred != 0, tl.sum(tl.where(there, x1 + x2, 0.0), 1)[:, None] / D, 0.0)
        z1, z2 = x1 - centre, x2 - centre
        mean = tl.sum(tl.where(there, z1 * z1 + z2 * z2, 0.0), 1)[:, None] / D
        mean = tl.where((stride > 0) & (centred == 0), tl.where(is_query, q_mean, k_mean), mean)
        factor = tl.div_rn(1.0, tl.sqrt_rn(mean + eps))
        q_ptr, k_ptr = q_norm_ptr + head * stride + i, k_norm_ptr + (head - H) * stride + i
        of_q, of_k = there & is_query, there & (head >= H) & (head < H + KVH)
        x1 = tl.where(is_value, x1, z1 * factor * weight_of(q_ptr, of_q, k_ptr, of_k))
        x2 = tl.where(is_value, x2, z2 * factor * weight_of(q_ptr + D // 2, of_q, k_ptr + D // 2, of_k))
    return x1, x2


@triton.jit
def mean_square(x_ptr, SIZE: tl.constexpr, wanted):
    """The mean of SIZE squares; 0, and nothing is read, unless it is ``wanted``."""
    squares = tl.zeros([READ], tl.float32)
    for start in tl.range(0, tl.where(wanted, SIZE, 0), READ):
        k = start + tl.arange(0, READ)
        x = tl.load(x_ptr + k, mask=k < SIZE, other=0.0).to(tl.float32)
        squares += x * x
    return tl.sum(squares, 0) / SIZE


@triton.jit
def weight_of(q_ptr, of_q, k_ptr, of_k):
    """Weights of the norm, of queries or of keys."""
    q = tl.load(q_ptr, mask=of_q, other=0.0).to(tl.float32)
    return q + tl.load(k_ptr, mask=of_k, other=0.0).to(tl.float32)


@triton.jit
def store_halves(ptr, left, right, half, mask):
    """Write a head's two halves, ``half`` values apart."""
    tl.store(ptr, left.to(ptr.dtype.element_ty), mask=mask)
    tl.store(ptr + half, right.to(ptr.dtype.element_ty), mask=mask)


TURN_POINTERS = {
    **{"positions_ptr": "*i64", "cos_sin_ptr": "*fp32", "slots_ptr": "*i64", "norm_eps": "fp32"},
    **{"norm_stride": "i32", "norm_centred": "i32"},
    **{"k_ptr": "*i8", "v_ptr": "*i8", "k_scales_ptr": "*fp32", "v_scales_ptr": "*fp32"},
}
HEAD_NORM = {"q_norm_ptr": "*bf16", "k_norm_ptr": "*bf16"}
FP8 = {"k_ptr": "*u8", "v_ptr": "*u8"}
_SIZES = {"H": 32, "KVH": 8, "D": 128, "PAGE": 64, "HEADS": HEADS, "HALF": 64}
_POINTERS = TURN_POINTERS | {"qkv_ptr": "*bf16", "q_ptr": "*bf16"}

VARIANTS = (Variant("rope_kv_write-bf16-int8-norm", rope_kv_write_kernel, _POINTERS | HEAD_NORM, _SIZES),)
