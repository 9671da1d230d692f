"""The first half of an MLP with packed weights, as int8 for the product that follows.

gated       activation(gate) * up, where the rows of a group of outputs stand together in the weight, gate above up
not gated   activation(y)

A program has the rows of a group of gate and of up, or of two groups, and so rounds them without a second launch; the
last group may be shorter (``reference/linear_packed.py``).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.packed import Codes, Weight
from llmrt_kernels.triton.activated_rows import activated_rows
from llmrt_kernels.triton.activation import activated
from llmrt_kernels.triton.codes import X_CODES, Y_CODES, empty_codes, store_codes
from llmrt_kernels.triton.integers import cdiv
from llmrt_kernels.triton.linear import linear
from llmrt_kernels.triton.overlap import begin, overlap
from llmrt_kernels.triton.product_dot4 import BLOCK, product_dot4
from llmrt_kernels.triton.product_mma import UNROLL, product_mma
from llmrt_kernels.triton.target import target_of
from llmrt_kernels.triton.tiles import FEW, MANY, dot4_turn, gated_tile_for, is_expanded, tokens_at_once
from llmrt_kernels.triton.variant import Variant, with_tiles


def gated_linear(x: Codes, weight: Weight, name: str = "silu", *, delta: Tensor | None = None) -> Codes:
    """x [T, K], weight [2 I, K], rows ordered as in the reference -> activation(gate) * up, [T, I] in int8.

    ``delta`` [T, 2 I] is added to the product, all of gate's before all of up's.
    """
    return _activated(x, weight, weight.rows // 2, name, delta, gated=True)


def activated_linear(x: Codes, weight: Weight, name: str, *, delta: Tensor | None = None) -> Codes:
    """x [T, K], weight [I, K], I a multiple of 16 -> activation(x W^T + bias + delta), [T, I] in int8."""
    return _activated(x, weight, weight.rows, name, delta, gated=False)


def _activated(x: Codes, weight: Weight, size: int, name: str, delta: Tensor | None, *, gated: bool) -> Codes:
    """With a ``delta``, for which the fused kernels have no place, and expanded, the product is one by itself."""
    if delta is not None or is_expanded(x.num_tokens, target_of(x.codes.device)):
        product = linear(x, replace(weight, bias=None))
        return activated_rows(product, weight.bias, delta, x.group, name, gated=gated)
    (matrix,) = weight.pieces
    y = empty_codes(x.num_tokens, size, x.group, x.codes.device)
    programs = cdiv(size, x.group if gated else 2 * x.group)
    sizes = {"SIZE": size, "GROUPS": x.scales.shape[1], "GROUP": x.group, "BITS": matrix.bits}
    launch = _few if x.num_tokens <= FEW else _many
    launch(x, weight, y, programs, NAME=name, GATED=gated, **sizes)
    return y


def _few(x: Codes, weight: Weight, y: Codes, programs: int, **constants: int | str) -> None:
    target = target_of(x.codes.device)
    warps, span = dot4_turn(x.scales.shape[1], 2 * x.group, target)
    activated_dot4_kernel[(programs,)](
        *x.tensors,
        *weight.pieces[0].tensors,
        weight.bias,
        *y.tensors,
        x.num_tokens,
        TOKENS=tokens_at_once(x.num_tokens),
        SPAN=span,
        ASM=target.asm,
        **overlap(target),
        num_warps=warps,
        **constants,
    )


def _many(x: Codes, weight: Weight, y: Codes, programs: int, **constants: int | str) -> None:
    target = target_of(x.codes.device)
    tile = gated_tile_for(x.num_tokens, target, offsets=weight.pieces[0].offsets is not None)
    activated_mma_kernel[(cdiv(x.num_tokens, tile.tokens), programs)](
        *x.tensors,
        *weight.pieces[0].tensors,
        weight.bias,
        *y.tensors,
        x.num_tokens,
        BM=tile.tokens,
        SWAP=tile.swap,
        STAGES=tile.stages,
        ASM=target.asm,
        num_warps=tile.warps,
        **constants,
    )


@triton.jit(do_not_specialize=["tokens"])
def activated_dot4_kernel(
    x_ptr,
    x_scales_ptr,
    x_sums_ptr,
    w_ptr,
    w_scales_ptr,
    w_offsets_ptr,
    bias_ptr,
    y_ptr,
    y_scales_ptr,
    y_sums_ptr,
    tokens,
    SIZE: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
    BITS: tl.constexpr,
    NAME: tl.constexpr,
    GATED: tl.constexpr,
    TOKENS: tl.constexpr,
    SPAN: tl.constexpr,
    ASM: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """A program computes a group of outputs of all tokens, or two without a gate."""
    begin(OVERLAP)
    program = tl.program_id(0)
    block, row, inside = program_rows(program, SIZE, GROUP, GATED)
    last = tl.zeros([], tl.int64) + tokens - 1
    x, w = (x_ptr, x_scales_ptr, x_sums_ptr), (w_ptr, w_scales_ptr, w_offsets_ptr)
    results = product_dot4(x, last * 0, last, w, block, row, GROUPS, GROUP, BITS, TOKENS, SPAN, ASM, OVERLAP)
    y = (y_ptr, y_scales_ptr, y_sums_ptr)
    for t in tl.static_range(TOKENS):
        token = tl.minimum(t, last) + tl.zeros([1], tl.int64)  # past the last one it is that once more
        store_activated(
            results[t][None, :], bias_ptr, block * BLOCK + row, inside, token, program, y, SIZE, GROUP, NAME, GATED
        )


@triton.jit(do_not_specialize=["tokens"])
def activated_mma_kernel(
    x_ptr,
    x_scales_ptr,
    x_sums_ptr,
    w_ptr,
    w_scales_ptr,
    w_offsets_ptr,
    bias_ptr,
    y_ptr,
    y_scales_ptr,
    y_sums_ptr,
    tokens,
    SIZE: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
    BITS: tl.constexpr,
    NAME: tl.constexpr,
    GATED: tl.constexpr,
    BM: tl.constexpr,
    SWAP: tl.constexpr,
    STAGES: tl.constexpr,
    ASM: tl.constexpr,
):
    """A program computes a group of outputs of BM tokens, or two without a gate."""
    program = tl.program_id(1)
    block, row, inside = program_rows(program, SIZE, GROUP, GATED)
    token = tl.minimum(tl.program_id(0) * BM + tl.arange(0, BM), tokens - 1).to(tl.int64)
    x, w = (x_ptr, x_scales_ptr, x_sums_ptr), (w_ptr, w_scales_ptr, w_offsets_ptr)
    result = product_mma(x, token, w, block, row, 0, GROUPS, GROUPS, GROUP, BITS, SWAP, STAGES, ASM)
    y = (y_ptr, y_scales_ptr, y_sums_ptr)
    store_activated(result, bias_ptr, block * BLOCK + row, inside, token, program, y, SIZE, GROUP, NAME, GATED)


@triton.jit
def program_rows(program, SIZE: tl.constexpr, GROUP: tl.constexpr, GATED: tl.constexpr):
    """Where a program's rows are: blocks int64 and rows in them [2 GROUP], and which of its outputs there are."""
    if GATED:
        return group_rows(program, SIZE, GROUP)
    else:
        r = tl.arange(0, 2 * GROUP)
        n = program * (2 * GROUP) + r
        block = tl.minimum(n // BLOCK, SIZE // BLOCK - 1)
        return tl.max_constancy(block.to(tl.int64), 16), r % BLOCK, n < SIZE


@triton.jit
def store_activated(
    result,
    bias_ptr,
    n,
    inside,
    token,
    program,
    y,
    SIZE: tl.constexpr,
    GROUP: tl.constexpr,
    NAME: tl.constexpr,
    GATED: tl.constexpr,
):
    """Results [t, 2 GROUP] of rows ``n`` of tokens ``token`` [t] become outputs, in int8; 0 where not ``inside``."""
    y_ptr, y_scales_ptr, y_sums_ptr = y
    if GATED:
        values = gated(result, bias_ptr, n, inside, NAME)
        store_codes(values, token, program, y_ptr, y_scales_ptr, y_sums_ptr, tl.cdiv(SIZE, GROUP))
    else:
        if bias_ptr is not None:
            result += tl.load(bias_ptr + n)[None, :]
        values = tl.where(inside[None, :], activated(result, NAME), 0.0)
        ROWS: tl.constexpr = 2 * result.shape[0]
        both = tl.arange(0, 2)[None, :]
        g = tl.reshape(2 * program + both + tl.zeros_like(token)[:, None].to(tl.int32), [ROWS])
        token = tl.reshape(token[:, None] + both * 0, [ROWS])
        values = tl.reshape(values, [ROWS, GROUP])
        store_codes(values, token, g, y_ptr, y_scales_ptr, y_sums_ptr, tl.cdiv(SIZE, GROUP))


@triton.jit
def group_rows(g, SIZE: tl.constexpr, GROUP: tl.constexpr):
    """Where the rows of output group g are: blocks int64 and rows in them [2 GROUP], gate in the first half.

    A short group's missing outputs repeat its last block; the third, [GROUP], says which outputs there are.
    """
    r = tl.arange(0, 2 * GROUP)
    blocks = tl.minimum(GROUP, SIZE - g * GROUP) // BLOCK  # of gate, and of up
    block = g * (2 * GROUP // BLOCK) + r // GROUP * blocks + tl.minimum(r % GROUP // BLOCK, blocks - 1)
    return tl.max_constancy(block.to(tl.int64), 16), r % BLOCK, tl.arange(0, GROUP) < blocks * BLOCK


@triton.jit
def gated(result, bias_ptr, n, inside, NAME: tl.constexpr):
    """activation(gate) * up [n, GROUP] from results [n, 2 GROUP] of rows ``n``; 0 where ``inside`` [GROUP] is false."""
    if bias_ptr is not None:
        result += tl.load(bias_ptr + n)[None, :]
    halves = tl.reshape(result, [result.shape[0], 2, inside.shape[0]])
    gate, up = tl.split(tl.permute(halves, [0, 2, 1]))
    return tl.where(inside[None, :], activated(gate, NAME) * up, 0.0)


ONE_WEIGHT_POINTERS = {"w_ptr": "*u8", "w_scales_ptr": "*fp16"}
_POINTERS = X_CODES | ONE_WEIGHT_POINTERS | Y_CODES | {"tokens": "i32"}
_MORE = {"bias_ptr": "*fp32", "w_offsets_ptr": "*fp16"}
_GATED = {"SIZE": 14336, "GROUPS": 64, "GROUP": 64, "BITS": 4, "NAME": "silu", "GATED": True}
_PLAIN = {"SIZE": 14336, "GROUPS": 128, "GROUP": 32, "BITS": 8, "NAME": "gelu", "GATED": False}


def _dot4(name: str, pointers: dict[str, str], sizes: dict[str, int | str], tokens: int, group: int) -> Variant:
    cut = {"TOKENS": tokens, "SPAN": 512 // group}
    weights = cut["SPAN"] * 2 * group * group
    return Variant(name, activated_dot4_kernel, pointers, sizes | cut, num_warps=8, weights=weights)


def _mma(name: str, pointers: dict[str, str], sizes: dict[str, int | str], group: int) -> Variant:
    weights = UNROLL.value * 2 * group * group
    tile = partial(gated_tile_for, MANY, offsets="w_offsets_ptr" in pointers)
    return with_tiles(Variant(name, activated_mma_kernel, pointers, sizes, weights=weights), tile)


VARIANTS = (
    _dot4("gated_linear-int4-1_token", _POINTERS, _GATED, 1, 64),
    _mma("gated_linear-int4-many_tokens", _POINTERS, _GATED, 64),
    _dot4("activated_linear-int8-4_tokens-gelu-offsets", _POINTERS | _MORE, _PLAIN, 4, 32),
    _mma("activated_linear-int8-many_tokens-gelu-offsets", _POINTERS | _MORE, _PLAIN, 32),
)
