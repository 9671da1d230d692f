"""Queries, keys and values of new tokens: the product, the norm of heads, RoPE, and keys and values into the cache.

For few tokens a program computes a head and does with it what ``rope_kv_write`` does; for many, or with something to
add, that is a second launch.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.head_norm import HeadNorm
from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.packed import Codes, Matrix, Weight
from llmrt_kernels.triton.codes import X_CODES
from llmrt_kernels.triton.fp8 import pages_of
from llmrt_kernels.triton.integers import next_power_of_2
from llmrt_kernels.triton.linear import OFFSETS, WEIGHT_POINTERS, linear_as, two_at_a_time
from llmrt_kernels.triton.overlap import begin, overlap
from llmrt_kernels.triton.product_dot4 import BLOCK, product_dot4
from llmrt_kernels.triton.rope_kv_write import (
    FP8,
    HEAD_NORM,
    TURN_POINTERS,
    norm_arguments,
    rope_kv_write,
    turn_and_store,
)
from llmrt_kernels.triton.target import TARGETS, Target, target_of
from llmrt_kernels.triton.tiles import FEW, head_turn, tokens_at_once
from llmrt_kernels.triton.variant import Variant


def rotary_linear(
    x: Codes,
    weight: Weight,
    positions: Tensor,
    cos_sin: Tensor,
    slot_mapping: Tensor,
    kv: LayerKVCache,
    head_norm: HeadNorm | None = None,
    *,
    delta: Tensor | None = None,
) -> Tensor:
    """x [T, K] -> rotated queries [T, H, D], of the cache's type, fp16 beside bytes; keys and values go there.

    ``delta`` [T, (H + 2 KVH) D] is added to the product.
    """
    turn = positions, cos_sin, slot_mapping
    dtype = kv.k.dtype if kv.k_scales is None else torch.float16
    _, kv_heads, _, head_dim = kv.k.shape
    pairs = list(two_at_a_time(weight.pieces))
    apart = len(pairs) > 1 or any(piece.rows % head_dim for piece in pairs[0][1])
    if x.num_tokens > FEW or delta is not None or apart or _is_of_rows(head_norm, head_dim):
        return rope_kv_write(linear_as(dtype, x, weight, delta), *turn, kv, head_norm, dtype)
    heads = weight.rows // head_dim - 2 * kv_heads
    q = torch.empty(x.num_tokens, heads, head_dim, dtype=dtype, device=x.codes.device)
    _few(x, weight.bias, pairs[0][1], turn, kv, head_norm, q)
    return q


def _is_of_rows(head_norm: HeadNorm | None, head_dim: int) -> bool:
    """Whether the norm is of all heads at once, which a program that has one of them cannot compute."""
    return head_norm is not None and not head_norm.centred and head_norm.q.numel() > head_dim


def _few(
    x: Codes,
    bias: Tensor | None,
    pieces: tuple[Matrix, Matrix],
    turn: tuple[Tensor, Tensor, Tensor],
    kv: LayerKVCache,
    head_norm: HeadNorm | None,
    q: Tensor,
) -> None:
    target, groups = target_of(q.device), x.scales.shape[1]
    heads, head_dim = q.shape[1:]
    _, kv_heads, block_size, _ = kv.k.shape
    half = next_power_of_2(head_dim // 2)
    warps, span = head_turn(groups, 2 * half, x.num_tokens, target)
    rotary_dot4_kernel[(heads + 2 * kv_heads,)](
        *x.tensors,
        *pieces[0].tensors,
        *pieces[1].tensors,
        bias,
        *turn,
        *pages_of(kv),
        *norm_arguments(head_norm, head_dim),
        q,
        x.num_tokens,
        pieces[0].rows // head_dim,
        H=heads,
        KVH=kv_heads,
        D=head_dim,
        PAGE=block_size,
        HALF=half,
        GROUPS=groups,
        GROUP=x.group,
        BITS0=pieces[0].bits,
        BITS1=pieces[1].bits,
        TOKENS=tokens_at_once(x.num_tokens),
        SPAN=span,
        ASM=target.asm,
        **overlap(target),
        num_warps=warps,
    )


@triton.jit(do_not_specialize=["tokens", "heads0", "norm_stride", "norm_centred"])
def rotary_dot4_kernel(
    x_ptr,
    x_scales_ptr,
    x_sums_ptr,
    w0_ptr,
    w0_scales_ptr,
    w0_offsets_ptr,
    w1_ptr,
    w1_scales_ptr,
    w1_offsets_ptr,
    bias_ptr,
    positions_ptr,
    cos_sin_ptr,
    slots_ptr,
    k_ptr,
    v_ptr,
    k_scales_ptr,
    v_scales_ptr,
    q_norm_ptr,
    k_norm_ptr,
    norm_eps,
    norm_stride,
    norm_centred,
    q_ptr,
    tokens,
    heads0,
    H: tl.constexpr,
    KVH: tl.constexpr,
    D: tl.constexpr,
    PAGE: tl.constexpr,
    HALF: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
    BITS0: tl.constexpr,
    BITS1: tl.constexpr,
    TOKENS: tl.constexpr,
    SPAN: tl.constexpr,
    ASM: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """A program computes one head of all tokens, those of the second piece in the programs from ``heads0`` on."""
    begin(OVERLAP)
    x = (x_ptr, x_scales_ptr, x_sums_ptr)
    w0, w1 = (w0_ptr, w0_scales_ptr, w0_offsets_ptr), (w1_ptr, w1_scales_ptr, w1_offsets_ptr)
    turn = (positions_ptr, cos_sin_ptr, slots_ptr)
    cache = (k_ptr, v_ptr, k_scales_ptr, v_scales_ptr)
    head = tl.program_id(0)
    norm = (q_norm_ptr, k_norm_ptr, norm_eps, norm_stride, norm_centred, (0.0, 0.0))
    rest = (tokens, bias_ptr, norm, turn, cache, q_ptr)
    if BITS1 == 0 or head < heads0:
        _head(x, w0, head, *rest, H, KVH, D, PAGE, HALF, GROUPS, GROUP, BITS0, TOKENS, SPAN, ASM, OVERLAP)
    else:
        _head(x, w1, head - heads0, *rest, H, KVH, D, PAGE, HALF, GROUPS, GROUP, BITS1, TOKENS, SPAN, ASM, OVERLAP)


@triton.jit
def _head(
    x,
    w,
    piece_head,
    tokens,
    bias_ptr,
    norm,
    turn,
    cache,
    q_ptr,
    H: tl.constexpr,
    KVH: tl.constexpr,
    D: tl.constexpr,
    PAGE: tl.constexpr,
    HALF: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
    BITS: tl.constexpr,
    TOKENS: tl.constexpr,
    SPAN: tl.constexpr,
    ASM: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """Head ``piece_head`` of a piece, as two halves of HALF rows, of which D / 2 are there."""
    block, row = head_rows(piece_head, D, HALF)
    last = tl.zeros([], tl.int64) + tokens - 1
    results = product_dot4(x, last * 0, last, w, block, row, GROUPS, GROUP, BITS, TOKENS, SPAN, ASM, OVERLAP)
    i = tl.arange(0, HALF)[None, :]
    head = tl.program_id(0) + tl.zeros([1, 1], tl.int32)
    for t in tl.static_range(TOKENS):
        result = results[t]
        if bias_ptr is not None:
            result += tl.load(bias_ptr + (tl.program_id(0) - piece_head) * D + block * BLOCK + row)
        x1, x2 = tl.split(tl.permute(tl.reshape(result, [1, 2, HALF]), [0, 2, 1]))
        inside = (i < D // 2) & (t < tokens)
        token = tl.minimum(t, last)
        turn_and_store(x1, x2, token, head, i, inside, norm, turn, cache, q_ptr, H, KVH, D, PAGE)


@triton.jit
def head_rows(head, D: tl.constexpr, HALF: tl.constexpr):
    """Where the rows of a head are: blocks int64 and rows in them, [2 HALF], its halves at 0 and HALF.

    What pads a half repeats rows of it.
    """
    i = tl.arange(0, 2 * HALF) % HALF
    half = tl.arange(0, 2 * HALF) // HALF
    if D % 32 == 0:  # whole blocks, which the compiler is told: it reads four rows of a thread at once
        block = half * (D // 2 // BLOCK) + tl.minimum(i // BLOCK, D // 2 // BLOCK - 1)
        block, row = tl.max_constancy(head * (D // BLOCK) + block, 16), tl.arange(0, 2 * HALF) % BLOCK
    else:
        n = half * (D // 2) + tl.minimum(i, D // 2 - 1)
        block, row = head * (D // BLOCK) + n // BLOCK, n % BLOCK
    return block.to(tl.int64), row


_POINTERS = X_CODES | WEIGHT_POINTERS | TURN_POINTERS | {"q_ptr": "*fp16", "tokens": "i32", "heads0": "i32"}
_HEADS = {"H": 32, "KVH": 8, "D": 128, "PAGE": 64, "HALF": 64}
_SIZES = _HEADS | {"GROUPS": 64, "GROUP": 64, "BITS0": 4, "BITS1": 8, "TOKENS": 1}


def _turn(target: Target) -> dict[str, Any]:
    warps, span = head_turn(64, 128, 1, target)
    return {"constants": _SIZES | {"SPAN": span}, "num_warps": warps, "weights": span * 128 * 64}


VARIANTS = (
    Variant(
        "rotary_linear-int4-int8-1_token-fp8-norm-offsets",
        rotary_dot4_kernel,
        _POINTERS | HEAD_NORM | FP8 | OFFSETS,
        tuned={target.name: _turn(target) for target in TARGETS},
        **_turn(TARGETS[0]),
    ),
)
