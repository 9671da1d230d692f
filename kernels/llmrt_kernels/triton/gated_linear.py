"""silu(gate) * up of a product with packed weights, as int8 for the product that follows.

The rows of a group of outputs stand together in the weight, gate above up (``reference/linear_packed.py``), so a
program that has them all rounds the group without a second launch. The last group may be shorter.
"""

from __future__ import annotations

import triton
import triton.language as tl

from llmrt_kernels.packed import Codes, Weight
from llmrt_kernels.triton.codes import empty_codes, store_codes
from llmrt_kernels.triton.product_dot4 import BLOCK, product_dot4
from llmrt_kernels.triton.product_mma import UNROLL, product_mma
from llmrt_kernels.triton.target import target_of
from llmrt_kernels.triton.tiles import FEW, OTHER_TILE, TILES, dot4_turn, gated_tile_for, tokens_at_once
from llmrt_kernels.triton.variant import Variant, with_offsets


def gated_linear(x: Codes, weight: Weight) -> Codes:
    """x [T, K], weight [2 I, K], rows ordered as in the reference -> silu(gate) * up, [T, I] in int8."""
    (matrix,) = weight.pieces
    y = empty_codes(x.num_tokens, weight.rows // 2, x.group, x.codes.device)
    launch = _few if x.num_tokens <= FEW else _many
    launch(x, weight, y, SIZE=weight.rows // 2, GROUPS=x.scales.shape[1], GROUP=x.group, BITS=matrix.bits)
    return y


def _few(x: Codes, weight: Weight, y: Codes, **sizes: int) -> None:
    target = target_of(x.codes.device)
    warps, span = dot4_turn(sizes["GROUPS"], 2 * x.group, target)
    gated_dot4_kernel[(y.scales.shape[1],)](
        x.codes,
        x.scales,
        x.sums,
        weight.pieces[0].data,
        weight.pieces[0].scales,
        weight.pieces[0].offsets,
        weight.bias,
        y.codes,
        y.scales,
        y.sums,
        x.num_tokens,
        TOKENS=tokens_at_once(x.num_tokens),
        SPAN=span,
        ASM=target.asm,
        num_warps=warps,
        **sizes,
    )


def _many(x: Codes, weight: Weight, y: Codes, **sizes: int) -> None:
    target = target_of(x.codes.device)
    tile = gated_tile_for(x.num_tokens, target, offsets=weight.pieces[0].offsets is not None)
    gated_mma_kernel[(triton.cdiv(x.num_tokens, tile.tokens), y.scales.shape[1])](
        x.codes,
        x.scales,
        x.sums,
        weight.pieces[0].data,
        weight.pieces[0].scales,
        weight.pieces[0].offsets,
        weight.bias,
        y.codes,
        y.scales,
        y.sums,
        x.num_tokens,
        BM=tile.tokens,
        SWAP=tile.swap,
        STAGES=tile.stages,
        ASM=target.asm,
        num_warps=tile.warps,
        **sizes,
    )


@triton.jit(do_not_specialize=["tokens"])
def gated_dot4_kernel(
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
    TOKENS: tl.constexpr,
    SPAN: tl.constexpr,
    ASM: tl.constexpr,
):
    """A program computes one group of outputs of all tokens."""
    g = tl.program_id(0)
    block, row, inside = group_rows(g, SIZE, GROUP)
    last = tl.zeros([], tl.int64) + tokens - 1
    x, w = (x_ptr, x_scales_ptr, x_sums_ptr), (w_ptr, w_scales_ptr, w_offsets_ptr)
    results = product_dot4(x, last * 0, last, w, block, row, GROUPS, GROUP, BITS, TOKENS, SPAN, ASM)
    for t in tl.static_range(TOKENS):
        y = gated(results[t][None, :], bias_ptr, block * BLOCK + row, inside)
        # Tokens past the last are the last once more.
        store_codes(
            y, tl.minimum(t, last) + tl.zeros([1], tl.int64), g, y_ptr, y_scales_ptr, y_sums_ptr, tl.cdiv(SIZE, GROUP)
        )


@triton.jit(do_not_specialize=["tokens"])
def gated_mma_kernel(
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
    BM: tl.constexpr,
    SWAP: tl.constexpr,
    STAGES: tl.constexpr,
    ASM: tl.constexpr,
):
    """A program computes one group of outputs of BM tokens."""
    g = tl.program_id(1)
    block, row, inside = group_rows(g, SIZE, GROUP)
    token = tl.minimum(tl.program_id(0) * BM + tl.arange(0, BM), tokens - 1).to(tl.int64)
    x, w = (x_ptr, x_scales_ptr, x_sums_ptr), (w_ptr, w_scales_ptr, w_offsets_ptr)
    result = product_mma(x, token, w, block, row, 0, GROUPS, GROUPS, GROUP, BITS, SWAP, STAGES, ASM)
    y = gated(result, bias_ptr, block * BLOCK + row, inside)
    store_codes(y, token, g, y_ptr, y_scales_ptr, y_sums_ptr, tl.cdiv(SIZE, GROUP))


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
def gated(result, bias_ptr, n, inside):
    """silu(gate) * up [n, GROUP] from results [n, 2 GROUP] of rows ``n``; 0 where ``inside`` [GROUP] is false."""
    if bias_ptr is not None:
        result += tl.load(bias_ptr + n)[None, :]
    halves = tl.reshape(result, [result.shape[0], 2, inside.shape[0]])
    gate, up = tl.split(tl.permute(halves, [0, 2, 1]))
    return tl.where(inside[None, :], gate / (1 + tl.exp(-gate)) * up, 0.0)


_CODES = {"x_ptr": "*i8", "x_scales_ptr": "*fp32", "x_sums_ptr": "*i32"}
_WEIGHT = {"w_ptr": "*u8", "w_scales_ptr": "*fp16"}
_OUT = {"y_ptr": "*i8", "y_scales_ptr": "*fp32", "y_sums_ptr": "*i32", "tokens": "i32"}
_SIZES = {"bias_ptr": None, "w_offsets_ptr": None, "SIZE": 14336, "GROUPS": 64, "GROUP": 64, "BITS": 4}

_SYMMETRIC = (
    Variant(
        "gated_linear-int4-1_token",
        gated_dot4_kernel,
        _CODES | _WEIGHT | _OUT,
        _SIZES | {"TOKENS": 1, "SPAN": 8},
        num_warps=8,
        weights=8 * 128 * 64,
    ),
    Variant(
        "gated_linear-int4-many_tokens",
        gated_mma_kernel,
        _CODES | _WEIGHT | _OUT,
        _SIZES | {"BM": TILES[2].tokens, "SWAP": TILES[2].swap, "STAGES": TILES[2].stages},
        num_warps=TILES[2].warps,
        not_on=OTHER_TILE,
        weights=UNROLL.value * 128 * 64,
    ),
)

VARIANTS = (*_SYMMETRIC, *map(with_offsets, _SYMMETRIC))
