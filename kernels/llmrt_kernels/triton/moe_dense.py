"""A mixture of experts with weights of a float type. The contract is that of the reference.

Pairs of a token and an expert are sorted as in ``moe``; few pairs have a tile each. Rows of the weight are the long
side of the matrix units' products, so that a tile of few pairs does not leave them idle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.triton.activation import activated
from llmrt_kernels.triton.expert_tiles import TILE_POINTERS, Tiles, tiles_of
from llmrt_kernels.triton.integers import cdiv
from llmrt_kernels.triton.product_dense import columns_of
from llmrt_kernels.triton.routing import FEW_PAIRS, mix, route
from llmrt_kernels.triton.variant import Variant


@dataclass(frozen=True)
class Cut:
    """A tile of ``pairs`` x ``rows`` that takes ``columns`` at a time."""

    pairs: int
    rows: int
    columns: int
    warps: int
    stages: int


FEW, MANY = Cut(16, 64, 64, 4, 4), Cut(64, 64, 32, 4, 3)


def moe_experts(
    x: Tensor,
    router: Tensor,
    gate_up: Tensor,
    down: Tensor,
    num_active: int,
    residual: Tensor,
    *,
    renormalize: bool = True,
) -> Tensor:
    """x, residual [T, N]; router [E, N]; gate_up [E, 2 I, N], gate above up; down [E, N, I] -> [T, N]."""
    weights, experts = route(x @ router.T, num_active, renormalize=renormalize)
    num_experts, pairs = len(router), experts.numel()
    cut = FEW if pairs <= FEW.pairs * num_experts else MANY
    tiles = one_pair_each(experts, cut.pairs) if pairs <= FEW_PAIRS else tiles_of(experts, num_experts, cut.pairs)
    hidden = torch.empty(pairs, down.shape[2], dtype=x.dtype, device=x.device)
    products = torch.empty(pairs, x.shape[1], device=x.device)
    _launch(gated_kernel, cut, tiles, (x, gate_up, hidden), CHOICES=num_active, K=x.shape[1], SIZE=down.shape[2])
    _launch(linear_kernel, cut, tiles, (hidden, down, products), K=down.shape[2], SIZE=x.shape[1])
    return mix(products, weights, residual)


def one_pair_each(experts: Tensor, tile: int) -> Tiles:
    """Tiles without sorting."""
    pairs = torch.arange(experts.numel(), dtype=torch.int32, device=experts.device)
    return Tiles(experts.flatten().int(), pairs.unsqueeze(1).expand(-1, tile).contiguous())


def _launch(kernel: triton.JITFunction[Any], cut: Cut, tiles: Tiles, tensors: tuple[Tensor, ...], **sizes: int) -> None:
    x, w, y = tensors
    kernel[(tiles.count, cdiv(sizes["SIZE"], cut.rows))](
        x,
        w,
        y,
        *tiles.tensors,
        **sizes,
        BM=cut.pairs,
        BN=cut.rows,
        BK=cut.columns,
        STAGES=cut.stages,
        num_warps=cut.warps,
    )


@triton.jit
def gated_kernel(
    x_ptr,
    w_ptr,
    y_ptr,
    tile_experts_ptr,
    tile_pairs_ptr,
    CHOICES: tl.constexpr,
    K: tl.constexpr,
    SIZE: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    STAGES: tl.constexpr,
):
    """A program computes silu(gate) * up for BN outputs of a tile of pairs; x [T, K], w [E, 2 SIZE, K]."""
    expert = tl.load(tile_experts_ptr + tl.program_id(0))
    if expert < 0:
        return
    pair = tl.load(tile_pairs_ptr + tl.program_id(0) * BM + tl.arange(0, BM)).to(tl.int64)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    row = expert.to(tl.int64) * (2 * SIZE) + tl.minimum(n, SIZE - 1)
    gate, up = tl.zeros([BN, BM], tl.float32), tl.zeros([BN, BM], tl.float32)
    for start in tl.range(0, K, BK, num_stages=STAGES):
        x = columns_of(x_ptr, pair // CHOICES, start, K, BK)
        gate = tl.dot(columns_of(w_ptr, row, start, K, BK), tl.trans(x), gate, input_precision="ieee")
        up = tl.dot(columns_of(w_ptr, row + SIZE, start, K, BK), tl.trans(x), up, input_precision="ieee")
    y = tl.trans(activated(gate, "silu") * up)
    tl.store(y_ptr + pair[:, None] * SIZE + n[None, :], y.to(y_ptr.dtype.element_ty), mask=(n < SIZE)[None, :])


@triton.jit
def linear_kernel(
    x_ptr,
    w_ptr,
    y_ptr,
    tile_experts_ptr,
    tile_pairs_ptr,
    K: tl.constexpr,
    SIZE: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    STAGES: tl.constexpr,
):
    """A program computes BN outputs of a tile of pairs; x [T k, K], w [E, SIZE, K]."""
    expert = tl.load(tile_experts_ptr + tl.program_id(0))
    if expert < 0:
        return
    pair = tl.load(tile_pairs_ptr + tl.program_id(0) * BM + tl.arange(0, BM)).to(tl.int64)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    row = expert.to(tl.int64) * SIZE + tl.minimum(n, SIZE - 1)
    y = tl.zeros([BN, BM], tl.float32)
    for start in tl.range(0, K, BK, num_stages=STAGES):
        x = columns_of(x_ptr, pair, start, K, BK)
        y = tl.dot(columns_of(w_ptr, row, start, K, BK), tl.trans(x), y, input_precision="ieee")
    tl.store(y_ptr + pair[:, None] * SIZE + n[None, :], tl.trans(y), mask=(n < SIZE)[None, :])


def _variant(name: str, kernel: triton.JITFunction[Any], cut: Cut, sizes: dict[str, int], y: str) -> Variant:
    pointers = {"x_ptr": "*bf16", "w_ptr": "*bf16", "y_ptr": y} | TILE_POINTERS
    tile = {"BM": cut.pairs, "BN": cut.rows, "BK": cut.columns, "STAGES": cut.stages}
    return Variant(name, kernel, pointers, sizes | tile, num_warps=cut.warps)


VARIANTS = (_variant("moe_gated-bf16-many", gated_kernel, MANY, {"CHOICES": 2, "K": 4096, "SIZE": 14336}, "*bf16"),)
