"""Pairs of a token and an expert, in tiles of pairs of one expert alone, without a sort and without asking the device.

A stretch of pairs is counted by expert; then each pair has its place from what was counted in the stretches before its
own, and from its rank in its own:

    counts  [stretches, experts]      lasts  [stretches, experts], the last pair of each, -1 for none
    place = TILE * (tiles of the experts before) + (pairs of the expert in earlier stretches) + rank
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.triton.integers import cdiv, next_power_of_2
from llmrt_kernels.triton.variant import Variant

COMPARED = 8192  # pairs of a stretch times experts
STRETCHES = tl.constexpr(16)  # that are added up at a time
SLOTS = tl.constexpr(16)  # tiles that a program says of at a time whose they are
TILE_POINTERS = {"tile_experts_ptr": "*i32", "tile_pairs_ptr": "*i32"}


@dataclass(frozen=True)
class Tiles:
    """Pairs sorted by expert, each expert's padded to whole tiles.

    ``experts`` int32 [count], -1 where there is no tile; ``pairs`` int32 [count, tile], the last of an expert repeated.
    """

    experts: Tensor
    pairs: Tensor

    @property
    def count(self) -> int:
        """As many as there can be."""
        return len(self.experts)

    @property
    def tensors(self) -> tuple[Tensor, Tensor]:
        """As kernels take them."""
        return self.experts, self.pairs


def tiles_of(experts: Tensor, num_experts: int, tile: int, room: int = 16) -> Tiles:
    """Sort pairs by their ``experts`` [T, k] into tiles of ``tile``, each expert's in their order.

    The kernels are those for ``room`` experts, a power of two, unless there are more.
    """
    pairs, padded = experts.numel(), max(room, next_power_of_2(num_experts))
    stretch = max(16, COMPARED // padded)
    programs = cdiv(pairs, stretch)
    count = min(cdiv(pairs, tile) + num_experts, pairs)
    counts, lasts = (torch.empty(programs, padded, dtype=torch.int32, device=experts.device) for _ in range(2))
    tiles = Tiles(
        torch.empty(count, dtype=torch.int32, device=experts.device),
        torch.empty(count, tile, dtype=torch.int32, device=experts.device),
    )
    sizes = {"EXPERTS": padded, "STRETCH": stretch}
    count_pairs_kernel[(programs,)](experts, counts, lasts, pairs, **sizes)
    fill_tiles_kernel[(programs,)](experts, counts, lasts, *tiles.tensors, pairs, count, **sizes, TILE=tile)
    return tiles


@triton.jit(do_not_specialize=["pairs"])
def count_pairs_kernel(experts_ptr, counts_ptr, lasts_ptr, pairs, EXPERTS: tl.constexpr, STRETCH: tl.constexpr):
    """A program counts a stretch."""
    pair, is_of = stretch_of(experts_ptr, pairs, EXPERTS, STRETCH)
    at = tl.program_id(0) * EXPERTS + tl.arange(0, EXPERTS)
    tl.store(counts_ptr + at, tl.sum(is_of.to(tl.int32), 0))
    tl.store(lasts_ptr + at, tl.max(tl.where(is_of, pair[:, None], -1), 0))


@triton.jit(do_not_specialize=["pairs", "count"])
def fill_tiles_kernel(
    experts_ptr, counts_ptr, lasts_ptr, tile_experts_ptr, tile_pairs_ptr, pairs, count,
    EXPERTS: tl.constexpr, STRETCH: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """A program places the pairs of its stretch, and says of its share of tiles whose they are; the first fills up."""
    before = tl.zeros([EXPERTS], tl.int32)
    total = before
    last = before - 1
    e, s = tl.arange(0, EXPERTS), tl.arange(0, STRETCHES)
    for first in tl.range(0, tl.num_programs(0), STRETCHES):
        at = (first + s)[:, None] * EXPERTS + e[None, :]
        inside = (first + s < tl.num_programs(0))[:, None]
        counts = tl.load(counts_ptr + at, mask=inside, other=0)
        total += tl.sum(counts, 0)
        before += tl.sum(tl.where((first + s < tl.program_id(0))[:, None], counts, 0), 0)
        last = tl.maximum(last, tl.max(tl.load(lasts_ptr + at, mask=inside, other=-1), 0))
    tiles = tl.cdiv(total, TILE)
    ends = tl.cumsum(tiles, 0)

    pair, is_of = stretch_of(experts_ptr, pairs, EXPERTS, STRETCH)
    rank = tl.cumsum(is_of.to(tl.int32), 0) - 1
    place = ((ends - tiles) * TILE + before)[None, :] + rank
    tl.store(tile_pairs_ptr + tl.sum(tl.where(is_of, place, 0), 1), pair, mask=pair < pairs)

    for first in tl.range(tl.program_id(0) * SLOTS, count, tl.num_programs(0) * SLOTS):
        slot = first + tl.arange(0, SLOTS)
        expert = tl.sum((ends[None, :] <= slot[:, None]).to(tl.int32), 1)
        tl.store(tile_experts_ptr + slot, tl.where(expert < EXPERTS, expert, -1), mask=slot < count)
    if tl.program_id(0) == 0:
        j = tl.arange(0, TILE)[None, :]
        missing = (total % TILE != 0)[:, None] & (j >= (total % TILE)[:, None])
        filled = tl.broadcast_to(last[:, None], [EXPERTS, TILE])
        tl.store(tile_pairs_ptr + ((ends - 1) * TILE)[:, None] + j, filled, mask=missing)


@triton.jit
def stretch_of(experts_ptr, pairs, EXPERTS: tl.constexpr, STRETCH: tl.constexpr):
    """The pairs of a program's stretch [STRETCH], and whether each is one of each expert [STRETCH, EXPERTS]."""
    pair = tl.program_id(0) * STRETCH + tl.arange(0, STRETCH)
    expert = tl.load(experts_ptr + pair, mask=pair < pairs, other=-1).to(tl.int32)
    return pair, expert[:, None] == tl.arange(0, EXPERTS)[None, :]


VARIANTS = (
    Variant(
        "expert_tiles-8_experts",
        fill_tiles_kernel,
        {"experts_ptr": "*i64", "counts_ptr": "*i32", "lasts_ptr": "*i32"}
        | TILE_POINTERS
        | {"pairs": "i32", "count": "i32"},
        {"EXPERTS": 16, "STRETCH": 512, "TILE": 64},
    ),
)
