"""y = x W^T + bias + residual with packed weights and int8 activations; the contract is the CPU kernel's.

Up to ``FEW`` tokens a program computes 16 rows (``product_dot4``), beyond that a tile (``product_mma``). A weight may
be pieces of different widths: two of them go into one launch, whose first programs have the first piece's rows, so
that both are read at once. Where tiles are too few to keep the device busy, they are split along K, and a second
kernel adds the parts in order. Products of many tokens are left to torch, from an expanded weight (``expand``), but for
logits, which are wanted more exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.packed import Codes, Matrix, Weight
from llmrt_kernels.triton.codes import X_CODES
from llmrt_kernels.triton.expand import expanded_product
from llmrt_kernels.triton.integers import cdiv
from llmrt_kernels.triton.overlap import begin, overlap
from llmrt_kernels.triton.product_dot4 import BLOCK, product_dot4
from llmrt_kernels.triton.product_mma import UNROLL, product_mma
from llmrt_kernels.triton.target import target_of
from llmrt_kernels.triton.tiles import FEW, MANY, dot4_turn, is_expanded, splits_of, tile_for, tokens_at_once
from llmrt_kernels.triton.variant import Variant, with_tiles

ADDED = 1024  # values that one program adds parts of


def linear(x: Codes, weight: Weight, residual: Tensor | None = None) -> Tensor:
    """x [T, K] -> x W^T + bias + residual [T, N], of the residual's type, without one as ``linear_as`` fp32."""
    return linear_as(torch.float32 if residual is None else residual.dtype, x, weight, residual)


def linear_as(dtype: torch.dtype, x: Codes, weight: Weight, residual: Tensor | None = None) -> Tensor:
    """The same, of type ``dtype``; of bf16, which the reader converts, if nothing is added to an expanded product."""
    multiplied = _expanded if is_expanded(x.num_tokens, target_of(x.codes.device)) else _in_int8
    return multiplied(dtype, x, weight, residual)


def lm_head(x: Codes, weight: Weight) -> Tensor:
    """x [T, K] -> logits x W^T + bias [T, V] fp32, never from an expanded weight."""
    return _in_int8(torch.float32, x, weight, None)


def _in_int8(dtype: torch.dtype, x: Codes, weight: Weight, residual: Tensor | None) -> Tensor:
    y = torch.empty(x.num_tokens, weight.rows, dtype=dtype, device=x.codes.device)
    launch = _few if x.num_tokens <= FEW else _many
    for first_row, pieces in two_at_a_time(weight.pieces):
        launch(x, weight, first_row, pieces, residual, y)
    return y


def _expanded(dtype: torch.dtype, x: Codes, weight: Weight, residual: Tensor | None) -> Tensor:
    product = expanded_product(x, weight)
    if weight.bias is None and residual is None:
        return product
    y = torch.empty_like(product, dtype=dtype)
    _add_parts(product.unsqueeze(0), weight, residual, 0, weight.rows, y)
    return y


def two_at_a_time(pieces: tuple[Matrix, ...]) -> Iterator[tuple[int, tuple[Matrix, Matrix]]]:
    """Pairs of pieces with the first row of each pair; an odd one's companion has no rows."""
    row = 0
    for i in range(0, len(pieces), 2):
        pair = (pieces[i], pieces[i + 1] if i + 1 < len(pieces) else replace(pieces[i], bits=0, rows=0))
        yield row, pair
        row += pair[0].rows + pair[1].rows


def _few(
    x: Codes, weight: Weight, first_row: int, pieces: tuple[Matrix, Matrix], residual: Tensor | None, y: Tensor
) -> None:
    target, groups = target_of(y.device), x.scales.shape[1]
    warps, span = dot4_turn(groups, BLOCK.value, target)
    blocks = [cdiv(piece.rows, BLOCK.value) for piece in pieces]
    linear_dot4_kernel[(sum(blocks),)](
        *x.tensors,
        *pieces[0].tensors,
        *pieces[1].tensors,
        weight.bias,
        residual,
        y,
        x.num_tokens,
        first_row,
        blocks[0],
        weight.rows,
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


def _many(
    x: Codes, weight: Weight, first_row: int, pieces: tuple[Matrix, Matrix], residual: Tensor | None, y: Tensor
) -> None:
    target, groups = target_of(y.device), x.scales.shape[1]
    offsets = any(piece.offsets is not None for piece in pieces)
    crowded = pieces[1].rows > 0 or weight.bias is not None
    tile = tile_for(x.num_tokens, target, offsets=offsets, crowded=crowded)
    token_tiles = cdiv(x.num_tokens, tile.tokens)
    row_tiles = [cdiv(piece.rows, tile.rows) for piece in pieces]
    turns = cdiv(groups, UNROLL.value)
    splits = splits_of(token_tiles * sum(row_tiles), turns, target, y.device)
    parts = y if splits == 1 else torch.empty(splits, *y.shape, device=y.device)
    added = (weight.bias, residual) if splits == 1 else (None, None)
    linear_mma_kernel[(token_tiles, sum(row_tiles), splits)](
        *x.tensors,
        *pieces[0].tensors,
        *pieces[1].tensors,
        *added,
        parts,
        x.num_tokens,
        first_row,
        pieces[0].rows,
        pieces[1].rows,
        weight.rows,
        cdiv(turns, splits) * UNROLL.value,
        SPLIT=splits > 1,
        GROUPS=groups,
        GROUP=x.group,
        BITS0=pieces[0].bits,
        BITS1=pieces[1].bits,
        BM=tile.tokens,
        BN=tile.rows,
        SWAP=tile.swap,
        STAGES=tile.stages,
        ASM=target.asm,
        num_warps=tile.warps,
    )
    if splits > 1:
        _add_parts(parts, weight, residual, first_row, pieces[0].rows + pieces[1].rows, y)


def _add_parts(parts: Tensor, weight: Weight, residual: Tensor | None, first_row: int, rows: int, y: Tensor) -> None:
    """Parts [S, T, N] of the product with ``rows`` rows, added to bias and residual."""
    add_parts_kernel[(y.shape[0], cdiv(rows, ADDED))](
        parts, weight.bias, residual, y, first_row, rows, weight.rows, y.numel(), parts.shape[0], ADDED=ADDED
    )


@triton.jit(do_not_specialize=["tokens", "first_row", "blocks0"])
def linear_dot4_kernel(
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
    residual_ptr,
    y_ptr,
    tokens,
    first_row,
    blocks0,
    rows,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
    BITS0: tl.constexpr,
    BITS1: tl.constexpr,
    TOKENS: tl.constexpr,
    SPAN: tl.constexpr,
    ASM: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """A program computes 16 rows, those of the second piece in the programs from ``blocks0`` on."""
    begin(OVERLAP)
    x = (x_ptr, x_scales_ptr, x_sums_ptr)
    w0, w1 = (w0_ptr, w0_scales_ptr, w0_offsets_ptr), (w1_ptr, w1_scales_ptr, w1_offsets_ptr)
    out = (bias_ptr, residual_ptr, y_ptr)
    block = tl.program_id(0).to(tl.int64)
    first = first_row + tl.program_id(0) * BLOCK
    if BITS1 == 0 or block < blocks0:
        _block(x, w0, block, first, out, tokens, rows, GROUPS, GROUP, BITS0, TOKENS, SPAN, ASM, OVERLAP)
    else:
        _block(x, w1, block - blocks0, first, out, tokens, rows, GROUPS, GROUP, BITS1, TOKENS, SPAN, ASM, OVERLAP)


@triton.jit
def _block(
    x,
    w,
    block,
    first_row,
    out,
    tokens,
    rows,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
    BITS: tl.constexpr,
    TOKENS: tl.constexpr,
    SPAN: tl.constexpr,
    ASM: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    row = tl.arange(0, BLOCK)
    first = tl.zeros([], tl.int64)
    blocks = block + row // BLOCK
    last = first + tokens - 1
    results = product_dot4(x, first, last, w, blocks, row, GROUPS, GROUP, BITS, TOKENS, SPAN, ASM, OVERLAP)
    for t in tl.static_range(TOKENS):
        inside = (row < rows - first_row) & (t < tokens)
        store_rows(results[t], out, first, t, first_row, row, rows, inside)


@triton.jit(do_not_specialize=["tokens", "first_row", "rows0", "rows1", "count"])
def linear_mma_kernel(
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
    residual_ptr,
    y_ptr,
    tokens,
    first_row,
    rows0,
    rows1,
    rows,
    count,
    SPLIT: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
    BITS0: tl.constexpr,
    BITS1: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    SWAP: tl.constexpr,
    STAGES: tl.constexpr,
    ASM: tl.constexpr,
):
    """A program computes a tile [BM, BN] of one piece; with SPLIT what ``count`` groups add, in ``y`` [S, T, N]."""
    x = (x_ptr, x_scales_ptr, x_sums_ptr)
    w0, w1 = (w0_ptr, w0_scales_ptr, w0_offsets_ptr), (w1_ptr, w1_scales_ptr, w1_offsets_ptr)
    y_ptr += tl.program_id(2).to(tl.int64) * tokens * rows
    out = (bias_ptr, residual_ptr, y_ptr)
    tile = tl.program_id(1)
    tiles0 = tl.cdiv(rows0, BN)
    rest = (out, tokens, rows, count)
    if BITS1 == 0 or tile < tiles0:
        _tile(x, w0, tile, first_row, rows0, *rest, SPLIT, GROUPS, GROUP, BITS0, BM, BN, SWAP, STAGES, ASM)
    else:
        first_row += rows0
        _tile(x, w1, tile - tiles0, first_row, rows1, *rest, SPLIT, GROUPS, GROUP, BITS1, BM, BN, SWAP, STAGES, ASM)


@triton.jit
def _tile(
    x,
    w,
    tile,
    first_row,
    piece_rows,
    out,
    tokens,
    rows,
    count,
    SPLIT: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
    BITS: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    SWAP: tl.constexpr,
    STAGES: tl.constexpr,
    ASM: tl.constexpr,
):
    i = tl.arange(0, BN)
    block = tl.minimum(tile * (BN // BLOCK) + i // BLOCK, tl.cdiv(piece_rows, BLOCK) - 1).to(tl.int64)
    block = tl.max_constancy(block, 16)
    j = tl.arange(0, BM)
    first = tl.program_id(0) * BM
    token = tl.minimum(first + j, tokens - 1).to(tl.int64)
    if SPLIT:
        begin = tl.program_id(2) * count
        end = tl.minimum(begin + count, GROUPS)
    else:
        begin, end = 0, GROUPS
    result = product_mma(x, token, w, block, i % BLOCK, begin, end, GROUPS, GROUP, BITS, SWAP, STAGES, ASM)
    inside = (j < tokens - first)[:, None] & (i < piece_rows - tile * BN)[None, :]
    store_rows(result, out, first, j[:, None], first_row + tile * BN, i[None, :], rows, inside)


@triton.jit
def store_rows(result, out, first_token, token, first_row, n, rows, inside):
    """y[first_token + token, first_row + n] = result + bias + residual.

    Places within a tile are int32, for as int64 they alone would take half of the registers.
    """
    bias_ptr, residual_ptr, y_ptr = out
    start = first_token.to(tl.int64) * rows + first_row
    at = token * rows + n
    if bias_ptr is not None:
        result += tl.load(bias_ptr + first_row + n, mask=inside, other=0.0).to(tl.float32)
    if residual_ptr is not None:
        result += tl.load(residual_ptr + start + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(y_ptr + start + at, result.to(y_ptr.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["first_row", "splits"])
def add_parts_kernel(
    parts_ptr, bias_ptr, residual_ptr, y_ptr, first_row, count, rows, size, splits, ADDED: tl.constexpr
):
    """A program adds the parts of ADDED of the ``count`` rows from ``first_row`` on, of one token; parts [S, size]."""
    first_row = first_row // BLOCK * BLOCK  # pieces begin with a block: so the compiler sees that places are aligned
    t = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * ADDED + tl.arange(0, ADDED)
    total = tl.zeros([ADDED], tl.float32)
    for s in tl.range(0, splits):
        total += tl.load(parts_ptr + s * size.to(tl.int64) + t * rows + first_row + i, mask=i < count, other=0.0)
    store_rows(total, (bias_ptr, residual_ptr, y_ptr), t, 0, first_row, i, rows, i < count)


WEIGHT_POINTERS = {"w0_ptr": "*u8", "w0_scales_ptr": "*fp16", "w1_ptr": "*u8", "w1_scales_ptr": "*fp16"}
STREAM = {"residual_ptr": "*bf16", "y_ptr": "*bf16"}
OFFSETS = {"w0_offsets_ptr": "*fp16"}  # of two weights, where the first alone has some
BIAS = {"bias_ptr": "*fp32"}


def _dot4(name: str, bits: tuple[int, int], group: int, tokens: int, **given: str) -> Variant:
    integers = dict.fromkeys(("tokens", "first_row", "blocks0", "rows"), "i32")
    sizes = {"GROUPS": 14336 // group, "GROUP": group, "BITS0": bits[0], "BITS1": bits[1]}
    constants = sizes | {"TOKENS": tokens, "SPAN": 64}
    weights = 0 if bits[1] else 64 * BLOCK.value * group
    pointers = X_CODES | WEIGHT_POINTERS
    return Variant(name, linear_dot4_kernel, pointers | integers | given, constants, num_warps=8, weights=weights)


def _mma(name: str, bits: tuple[int, int], group: int, tokens: int, **given: str) -> Variant:
    integers = dict.fromkeys(("tokens", "first_row", "rows0", "rows1", "rows", "count"), "i32")
    groups = 4096 // group
    sizes = {"SPLIT": tokens < MANY, "GROUPS": groups, "GROUP": group, "BITS0": bits[0], "BITS1": bits[1]}
    weights = 0 if bits[1] else UNROLL.value * 128 * group
    variant = Variant(name, linear_mma_kernel, X_CODES | WEIGHT_POINTERS | integers | given, sizes, weights=weights)
    crowded = bits[1] > 0 or "bias_ptr" in given
    return with_tiles(variant, partial(tile_for, tokens, offsets="w0_offsets_ptr" in given, crowded=crowded))


VARIANTS = (
    _dot4("linear-int4-1_token", (4, 0), 64, 1, **STREAM),
    _dot4("linear-int8-int4-4_tokens-offsets", (8, 4), 32, 4, y_ptr="*fp32", **OFFSETS, **BIAS),
    _mma("linear-int4-16_tokens", (4, 0), 64, 16, y_ptr="*fp32"),
    _mma("linear-int4-int8-many_tokens", (4, 8), 64, MANY, **STREAM, **BIAS),
    _mma("linear-int8-int4-many_tokens-offsets", (8, 4), 32, MANY, y_ptr="*bf16", **OFFSETS, **BIAS),
)
