"""Normalise and rotate queries and keys, and write keys and values to the paged cache: see the reference.

A cache of int8 or fp8 has a scale for each token and head, largest / 127 or 448, fp32 [blocks, KVH, block_size].
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.head_norm import HeadNorm
from llmrt_kernels.triton.codes import nearest
from llmrt_kernels.triton.fp8 import as_bytes, to_fp8
from llmrt_kernels.triton.variant import Variant

HEADS = 8  # of a token that one program turns


def rope_kv_write(
    qkv: Tensor,
    positions: Tensor,
    cos_sin: Tensor,
    slot_mapping: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    k_scales: Tensor | None = None,
    v_scales: Tensor | None = None,
    head_norm: HeadNorm | None = None,
) -> Tensor:
    """Rotate and store. Returns the rotated queries [T, H, D]; keys and values go to the cache in its dtype.

    qkv [T, (H + 2 KVH) D]; positions, slot_mapping [T] int64; cos_sin [P, 2, D/2] fp32, row p for position p;
    k_cache, v_cache [blocks, KVH, block_size, D], with scales [blocks, KVH, block_size] fp32 if they are int8 or fp8.
    With ``head_norm`` each head of queries and keys is normalised first.
    """
    _, kv_heads, block_size, head_dim = k_cache.shape
    tokens, all_heads = qkv.shape[0], qkv.shape[1] // head_dim
    heads = all_heads - 2 * kv_heads
    q = qkv.new_empty(tokens, heads, head_dim)
    rope_kv_write_kernel[(tokens, triton.cdiv(all_heads, HEADS))](
        qkv,
        positions,
        cos_sin,
        slot_mapping,
        as_bytes(k_cache),
        as_bytes(v_cache),
        k_scales,
        v_scales,
        q,
        *norm_arguments(head_norm),
        H=heads,
        KVH=kv_heads,
        D=head_dim,
        PAGE=block_size,
        HEADS=HEADS,
        HALF=triton.next_power_of_2(head_dim // 2),
    )
    return q


def norm_arguments(head_norm: HeadNorm | None) -> tuple[Tensor | None, Tensor | None, float]:
    """As kernels take it."""
    return (None, None, 0.0) if head_norm is None else (head_norm.q, head_norm.k, head_norm.eps)


@triton.jit
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
    x_ptr = qkv_ptr + (t * (H + 2 * KVH) + head) * D + i
    x1 = tl.load(x_ptr, mask=inside, other=0.0).to(tl.float32)
    x2 = tl.load(x_ptr + D // 2, mask=inside, other=0.0).to(tl.float32)
    cache = (k_ptr, v_ptr, k_scales_ptr, v_scales_ptr)
    norm = (q_norm_ptr, k_norm_ptr, norm_eps)
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
    x1, x2 = normalised(x1, x2, is_query, is_value, i, norm, D)
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
def normalised(x1, x2, is_query, is_value, i, norm, D: tl.constexpr):
    """The heads of queries and keys by RMSNorm, if there are weights for it."""
    q_norm_ptr, k_norm_ptr, eps = norm
    if q_norm_ptr is not None:
        there = i < D // 2
        mean = tl.sum(tl.where(there, x1 * x1 + x2 * x2, 0.0), 1)[:, None] / D
        factor = tl.div_rn(1.0, tl.sqrt_rn(mean + eps))
        weight1 = weight_of(q_norm_ptr, k_norm_ptr, is_query, i, there)
        weight2 = weight_of(q_norm_ptr, k_norm_ptr, is_query, i + D // 2, there)
        x1 = tl.where(is_value, x1, x1 * factor * weight1)
        x2 = tl.where(is_value, x2, x2 * factor * weight2)
    return x1, x2


@triton.jit
def weight_of(q_norm_ptr, k_norm_ptr, is_query, i, there):
    """Weights of the norm at ``i`` of a head, those of queries or those of keys."""
    q = tl.load(q_norm_ptr + i, mask=there, other=0.0).to(tl.float32)
    k = tl.load(k_norm_ptr + i, mask=there, other=0.0).to(tl.float32)
    return tl.where(is_query, q, k)


@triton.jit
def store_halves(ptr, left, right, half, mask):
    """Write a head's two halves, ``half`` values apart."""
    tl.store(ptr, left.to(ptr.dtype.element_ty), mask=mask)
    tl.store(ptr + half, right.to(ptr.dtype.element_ty), mask=mask)


TURN_POINTERS = {
    **{"positions_ptr": "*i64", "cos_sin_ptr": "*fp32", "slots_ptr": "*i64", "norm_eps": "fp32"},
    **{"k_ptr": "*i8", "v_ptr": "*i8", "k_scales_ptr": "*fp32", "v_scales_ptr": "*fp32"},
}
HEAD_NORM = {"q_norm_ptr": "*bf16", "k_norm_ptr": "*bf16"}
_SIZES = {"H": 32, "KVH": 8, "D": 128, "PAGE": 64, "HEADS": HEADS, "HALF": 64}
_POINTERS = TURN_POINTERS | {"qkv_ptr": "*bf16", "q_ptr": "*bf16"}
_FP8 = {"k_ptr": "*u8", "v_ptr": "*u8"}

VARIANTS = (
    Variant("rope_kv_write-bf16-int8-norm", rope_kv_write_kernel, _POINTERS | HEAD_NORM, _SIZES),
    Variant("rope_kv_write-bf16-fp8", rope_kv_write_kernel, _POINTERS | _FP8, _SIZES),
)
