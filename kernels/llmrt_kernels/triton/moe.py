"""A mixture of experts with packed weights and int8 activations. The contract is that of the CPU's kernels.

A router's choices for T tokens are T k pairs of a token and an expert; pair p is of token p // k. Few pairs: a program
computes a group of outputs, or 16 rows, of one pair by bytes multiplied four at a time; a weight that two pairs share
is read twice. Many: pairs are sorted by expert, and a tile of matrix units has pairs of one expert alone. How many
tiles an expert has is known on the device only, so the grid has as many as there can be, and those left over return.
The mix is summed in the order of a token's choices: results do not depend on the tokens beside it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.packed import Codes, Weight
from llmrt_kernels.triton.activated_linear import ONE_WEIGHT_POINTERS, gated, group_rows
from llmrt_kernels.triton.codes import X_CODES, Y_CODES, empty_codes, store_codes
from llmrt_kernels.triton.expert_tiles import TILE_POINTERS, Tiles, tiles_of
from llmrt_kernels.triton.integers import cdiv
from llmrt_kernels.triton.product_dot4 import BLOCK, product_dot4
from llmrt_kernels.triton.product_mma import UNROLL, product_mma
from llmrt_kernels.triton.routing import FEW_PAIRS, mix, route_codes
from llmrt_kernels.triton.target import target_of
from llmrt_kernels.triton.tiles import MANY, Tile, dot4_turn, gated_tile_for
from llmrt_kernels.triton.variant import Variant, with_tiles


def moe_experts(
    x: Codes,
    router: Tensor,
    gate_up: Weight,
    down: Weight,
    num_active: int,
    residual: Tensor,
    *,
    renormalize: bool = True,
) -> Tensor:
    """x [T, N] in int8, router [E, N], residual [T, N] -> residual + what the experts make of x [T, N]."""
    weights, experts = route_codes(x, router, num_active, renormalize=renormalize)
    pairs, num_experts = experts.numel(), router.shape[0]
    if pairs <= FEW_PAIRS:
        hidden = _few_gated(x, gate_up, experts, num_experts)
        products = _few_linear(hidden, down, experts, num_experts)
    else:
        offsets = any(weight.pieces[0].offsets is not None for weight in (gate_up, down))
        tile = gated_tile_for(cdiv(pairs, num_experts), target_of(residual.device), offsets=offsets)
        tiles = tiles_of(experts, num_experts, tile.tokens)
        hidden = _many_gated(x, gate_up, tiles, tile, num_active, num_experts)
        products = _many_linear(hidden, down, tiles, tile, num_experts)
    return mix(products, weights, residual)


def _few_gated(x: Codes, weight: Weight, experts: Tensor, num_experts: int) -> Codes:
    """x [T, N] -> the first half of SwiGLU of each pair [T k, I]."""
    target, (matrix,) = target_of(experts.device), weight.pieces
    size, groups = weight.rows // num_experts // 2, x.scales.shape[1]
    y = empty_codes(experts.numel(), size, x.group, experts.device)
    warps, span = dot4_turn(groups, 2 * x.group, target)
    expert_gated_dot4_kernel[(y.scales.shape[1], experts.numel())](
        *x.tensors,
        *matrix.tensors,
        experts,
        *y.tensors,
        CHOICES=experts.shape[1],
        SIZE=size,
        GROUPS=groups,
        GROUP=x.group,
        BITS=matrix.bits,
        SPAN=span,
        ASM=target.asm,
        num_warps=warps,
    )
    return y


def _few_linear(x: Codes, weight: Weight, experts: Tensor, num_experts: int) -> Tensor:
    """x [T k, I] -> the second half of each pair [T k, N]."""
    target, (matrix,) = target_of(experts.device), weight.pieces
    size, groups = weight.rows // num_experts, x.scales.shape[1]
    y = torch.empty(experts.numel(), size, device=experts.device)
    warps, span = dot4_turn(groups, BLOCK.value, target)
    expert_linear_dot4_kernel[(size // BLOCK.value, experts.numel())](
        *x.tensors,
        *matrix.tensors,
        experts,
        y,
        SIZE=size,
        GROUPS=groups,
        GROUP=x.group,
        BITS=matrix.bits,
        SPAN=span,
        ASM=target.asm,
        num_warps=warps,
    )
    return y


def _many_gated(x: Codes, weight: Weight, tiles: Tiles, tile: Tile, choices: int, num_experts: int) -> Codes:
    target, (matrix,) = target_of(x.codes.device), weight.pieces
    size = weight.rows // num_experts // 2
    y = empty_codes(x.num_tokens * choices, size, x.group, x.codes.device)
    expert_gated_mma_kernel[(tiles.count, y.scales.shape[1])](
        *x.tensors,
        *matrix.tensors,
        *tiles.tensors,
        *y.tensors,
        CHOICES=choices,
        SIZE=size,
        GROUPS=x.scales.shape[1],
        GROUP=x.group,
        BITS=matrix.bits,
        BM=tile.tokens,
        SWAP=tile.swap,
        STAGES=tile.stages,
        ASM=target.asm,
        num_warps=tile.warps,
    )
    return y


def _many_linear(x: Codes, weight: Weight, tiles: Tiles, tile: Tile, num_experts: int) -> Tensor:
    target, (matrix,) = target_of(x.codes.device), weight.pieces
    size = weight.rows // num_experts
    y = torch.empty(x.num_tokens, size, device=x.codes.device)
    expert_linear_mma_kernel[(tiles.count, cdiv(size, tile.rows))](
        *x.tensors,
        *matrix.tensors,
        *tiles.tensors,
        y,
        SIZE=size,
        GROUPS=x.scales.shape[1],
        GROUP=x.group,
        BITS=matrix.bits,
        BM=tile.tokens,
        BN=tile.rows,
        SWAP=tile.swap,
        STAGES=tile.stages,
        ASM=target.asm,
        num_warps=tile.warps,
    )
    return y


@triton.jit
def expert_gated_dot4_kernel(
    x_ptr,
    x_scales_ptr,
    x_sums_ptr,
    w_ptr,
    w_scales_ptr,
    w_offsets_ptr,
    experts_ptr,
    y_ptr,
    y_scales_ptr,
    y_sums_ptr,
    CHOICES: tl.constexpr,
    SIZE: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
    BITS: tl.constexpr,
    SPAN: tl.constexpr,
    ASM: tl.constexpr,
):
    """A program computes one group of outputs of one pair."""
    g, pair = tl.program_id(0), tl.program_id(1).to(tl.int64)
    x, w = (x_ptr, x_scales_ptr, x_sums_ptr), (w_ptr, w_scales_ptr, w_offsets_ptr)
    block, row, inside = group_rows(g, SIZE, GROUP)
    block += tl.load(experts_ptr + pair) * (2 * SIZE // BLOCK)
    token = pair // CHOICES
    results = product_dot4(x, token, token, w, block, row, GROUPS, GROUP, BITS, 1, SPAN, ASM)
    y = gated(results[0][None, :], None, row, inside, "silu")
    store_codes(y, pair + tl.zeros([1], tl.int64), g, y_ptr, y_scales_ptr, y_sums_ptr, tl.cdiv(SIZE, GROUP))


@triton.jit
def expert_linear_dot4_kernel(
    x_ptr,
    x_scales_ptr,
    x_sums_ptr,
    w_ptr,
    w_scales_ptr,
    w_offsets_ptr,
    experts_ptr,
    y_ptr,
    SIZE: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
    BITS: tl.constexpr,
    SPAN: tl.constexpr,
    ASM: tl.constexpr,
):
    """A program computes 16 rows of one pair."""
    pair = tl.program_id(1).to(tl.int64)
    x, w = (x_ptr, x_scales_ptr, x_sums_ptr), (w_ptr, w_scales_ptr, w_offsets_ptr)
    row = tl.arange(0, BLOCK)
    block = tl.load(experts_ptr + pair) * (SIZE // BLOCK) + tl.program_id(0) + row // BLOCK
    results = product_dot4(x, pair, pair, w, block, row, GROUPS, GROUP, BITS, 1, SPAN, ASM)
    tl.store(y_ptr + pair * SIZE + tl.program_id(0) * BLOCK + row, results[0])


@triton.jit
def expert_gated_mma_kernel(
    x_ptr,
    x_scales_ptr,
    x_sums_ptr,
    w_ptr,
    w_scales_ptr,
    w_offsets_ptr,
    tile_experts_ptr,
    tile_pairs_ptr,
    y_ptr,
    y_scales_ptr,
    y_sums_ptr,
    CHOICES: tl.constexpr,
    SIZE: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
    BITS: tl.constexpr,
    BM: tl.constexpr,
    SWAP: tl.constexpr,
    STAGES: tl.constexpr,
    ASM: tl.constexpr,
):
    """A program computes one group of outputs of a tile of pairs."""
    expert = tl.load(tile_experts_ptr + tl.program_id(0))
    if expert < 0:
        return
    g = tl.program_id(1)
    pair = tl.load(tile_pairs_ptr + tl.program_id(0) * BM + tl.arange(0, BM)).to(tl.int64)
    x, w = (x_ptr, x_scales_ptr, x_sums_ptr), (w_ptr, w_scales_ptr, w_offsets_ptr)
    block, row, inside = group_rows(g, SIZE, GROUP)
    block += expert.to(tl.int64) * (2 * SIZE // BLOCK)
    result = product_mma(x, pair // CHOICES, w, block, row, 0, GROUPS, GROUPS, GROUP, BITS, SWAP, STAGES, ASM)
    y = gated(result, None, row, inside, "silu")
    store_codes(y, pair, g, y_ptr, y_scales_ptr, y_sums_ptr, tl.cdiv(SIZE, GROUP))


@triton.jit
def expert_linear_mma_kernel(
    x_ptr,
    x_scales_ptr,
    x_sums_ptr,
    w_ptr,
    w_scales_ptr,
    w_offsets_ptr,
    tile_experts_ptr,
    tile_pairs_ptr,
    y_ptr,
    SIZE: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
    BITS: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    SWAP: tl.constexpr,
    STAGES: tl.constexpr,
    ASM: tl.constexpr,
):
    """A program computes BN rows of a tile of pairs."""
    expert = tl.load(tile_experts_ptr + tl.program_id(0))
    if expert < 0:
        return
    pair = tl.load(tile_pairs_ptr + tl.program_id(0) * BM + tl.arange(0, BM))
    x, w = (x_ptr, x_scales_ptr, x_sums_ptr), (w_ptr, w_scales_ptr, w_offsets_ptr)
    i = tl.arange(0, BN)
    block = tl.minimum(tl.program_id(1) * (BN // BLOCK) + i // BLOCK, SIZE // BLOCK - 1).to(tl.int64)
    block = tl.max_constancy(block, 16) + expert.to(tl.int64) * (SIZE // BLOCK)
    result = product_mma(x, pair.to(tl.int64), w, block, i % BLOCK, 0, GROUPS, GROUPS, GROUP, BITS, SWAP, STAGES, ASM)
    n = (tl.program_id(1) * BN + i)[None, :]
    tl.debug_barrier()  # pairs are read again: registers are all taken
    pair = tl.load(tile_pairs_ptr + tl.program_id(0) * BM + tl.arange(0, BM)).to(tl.int64)
    tl.store(y_ptr + pair[:, None] * SIZE + n, result, mask=n < SIZE)


_UP = {"CHOICES": 2, "SIZE": 14336, "GROUPS": 64, "GROUP": 64, "BITS": 4}
_DOWN = {"SIZE": 4096, "GROUPS": 224, "GROUP": 64, "BITS": 4}


def _many(name: str, kernel: Any, pointers: dict[str, str], sizes: dict[str, int]) -> Variant:
    pointers = X_CODES | ONE_WEIGHT_POINTERS | TILE_POINTERS | pointers
    variant = Variant(name, kernel, pointers, sizes, weights=UNROLL.value * 128 * 64)
    return with_tiles(variant, partial(gated_tile_for, MANY, offsets=False))


VARIANTS = (
    Variant(
        "expert_gated-int4-1_pair-offsets",
        expert_gated_dot4_kernel,
        X_CODES | {"experts_ptr": "*i64"} | ONE_WEIGHT_POINTERS | {"w_offsets_ptr": "*fp16"} | Y_CODES,
        _UP | {"SPAN": 8},
        num_warps=8,
        weights=8 * 128 * 64,
    ),
    _many("expert_gated-int4-many_pairs", expert_gated_mma_kernel, Y_CODES, _UP),
    _many("expert_linear-int4-many_pairs", expert_linear_mma_kernel, {"y_ptr": "*fp32"}, _DOWN),
)
