"""How products are cut into programs, by device and number of tokens."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

import torch

from llmrt_kernels.expansion import EXPANDED_FROM
from llmrt_kernels.triton import tuned
from llmrt_kernels.triton.integers import cdiv, next_power_of_2
from llmrt_kernels.triton.target import INTERPRETER, Target

FEW = 4  # tokens up to which products take no matrix units: they wait for the weight
MANY = 64  # those of the largest tile
MAX_THREADS = 256
# Of a head of queries, keys or values of up to two tokens; for more there are no registers. Heads are few programs, 48
# in Mistral 7B: with 256 threads they have 1.6 MB of a weight on their way, and an H200 wants 3.4 (computed, not
# measured).
HEAD_THREADS = {"sm_90": 512}
# Rows of a weight of floats that a program has: 16 KB are on their way for it, and a matrix of 4096 rows has four such
# programs for each multiprocessor of an H200. Four tokens leave registers for no more rows.
DENSE_ROWS, DENSE_THREADS = 8, 128
MOST_WITH_OFFSETS = 32  # tokens of a tile of a weight with offsets: for more it lacks registers
CROWDED_WARPS = 8  # of the largest tile where a launch has two pieces or a bias: with four it lacks registers


@dataclass(frozen=True)
class Tile:
    """A program's part of a product: ``tokens`` x ``rows``, in ``warps`` warps, with ``stages`` loads on their way.

    ``swap``: rows are the long side of the matrix units' product.
    """

    tokens: int
    rows: int
    swap: bool
    warps: int
    stages: int


# The first that holds all tokens, else the last.
TILES = (Tile(16, 128, True, 4, 4), Tile(32, 128, True, 4, 4), Tile(64, 128, True, 4, 3))
# Of 128 rows and 16 tokens three programs fit in a multiprocessor's 100 KB of shared memory, and CUDA 13.1's compiler
# gives them the registers of six; of 64 rows five fit, which keep as many bytes on their way.
TILES_SM120 = (Tile(16, 64, True, 4, 4), *TILES[1:])
# 64 KB of local memory.
TILES_GFX9 = (Tile(16, 128, True, 4, 2), Tile(32, 128, True, 4, 2), Tile(64, 128, True, 8, 2))
TILES_GFX11 = (Tile(16, 64, True, 4, 2), Tile(32, 64, True, 4, 2), Tile(64, 64, True, 8, 2))


def is_expanded(tokens: int, target: Target) -> bool:
    """Whether a weight is expanded to bf16 for a product of so many tokens there."""
    return tokens >= EXPANDED_FROM.get(target.name, sys.maxsize)


def tile_for(tokens: int, target: Target, *, offsets: bool, crowded: bool = False) -> Tile:
    """The tile of a product with ``tokens`` tokens, of weights with ``offsets`` or without.

    ``crowded``: of two pieces, or with a bias.
    """
    tiles = _tiles_on(target)
    tile = next((tile for tile in tiles if tokens <= tile.tokens), tiles[-1])
    if offsets and tile.tokens > MOST_WITH_OFFSETS:
        tile = replace(tile, tokens=MOST_WITH_OFFSETS, warps=4)
    numbers = tuned.numbers_of(product_name(tile.tokens, offsets=offsets))
    if numbers is not None:
        tile = Tile(*numbers[:2], bool(numbers[2]), *numbers[3:])
    return replace(tile, warps=CROWDED_WARPS) if crowded and tile.tokens == MANY else tile


def _tiles_on(target: Target) -> tuple[Tile, ...]:
    if isinstance(target.arch, int) and target.arch >= 120:
        return TILES_SM120
    return {"gfx11": TILES_GFX11, "gfx9": TILES_GFX9}.get(target.asm, TILES)


def product_name(tokens: int, *, offsets: bool) -> str:
    """What a tile that was measured is called: see ``tuned``."""
    return f"product-{tokens}{'-offsets' if offsets else ''}"


def gated_tile_for(tokens: int, target: Target, *, offsets: bool) -> Tile:
    """The tile of a product whose rows are a group of gate and one of up, 128 in most models."""
    tile = tile_for(tokens, target, offsets=offsets)
    if _tiles_on(target) is TILES_SM120 and tile.tokens == TILES_SM120[0].tokens:
        return replace(tile, warps=8)  # for its 128 rows: with four the compiler keeps 24 bytes of a thread in memory
    return replace(tile, tokens=min(tile.tokens, 32), warps=8) if target.asm == "gfx11" else tile


def tokens_at_once(tokens: int) -> int:
    """What few tokens are rounded up to, so that three need no kernel of their own; they repeat the last one."""
    assert tokens > 0
    return next_power_of_2(tokens)


def dot4_turn(groups: int, rows: int, target: Target, max_threads: int = MAX_THREADS) -> tuple[int, int]:
    """Warps of a program for ``rows`` rows, and groups of columns that they take at a time: a thread has four rows."""
    warps = 1
    while 4 * warps * target.warp_size < groups * rows and warps * target.warp_size < max_threads:
        warps *= 2
    return warps, max(4 * warps * target.warp_size // rows, 1)


def head_turn(groups: int, rows: int, tokens: int, target: Target) -> tuple[int, int]:
    """The same of a program that has the rows of a head."""
    most = HEAD_THREADS.get(target.name, MAX_THREADS) if tokens <= 2 else MAX_THREADS
    return dot4_turn(groups, rows, target, most)


def dense_turn(columns: int, itemsize: int, target: Target) -> tuple[int, int]:
    """Warps of a program for rows of floats, and columns that they take at a time: a lane loads 16 bytes of a row."""
    warps, loaded = 1, 16 // itemsize
    while warps * target.warp_size * loaded < columns and warps * target.warp_size < DENSE_THREADS:
        warps *= 2
    return warps, warps * target.warp_size * loaded


def splits_of(programs: int, turns: int, target: Target, device: torch.device) -> int:
    """Into how many parts the ``turns`` of each of ``programs`` are split: two programs for each core, if they have
    four turns each.
    """
    wanted = cdiv(2 * cores_of(target, device), programs)
    return max(1, min(wanted, turns // 4, 16))


def cores_of(target: Target, device: torch.device) -> int:
    """Multiprocessors of the device."""
    return 4 if target is INTERPRETER else torch.cuda.get_device_properties(device).multi_processor_count
