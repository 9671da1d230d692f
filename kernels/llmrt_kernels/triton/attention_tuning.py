"""Launch configurations of attention, and how many parts the keys of a request are cut into."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import torch

from llmrt_kernels.triton import tuned
from llmrt_kernels.triton.target import INTERPRETED, Target


@dataclass(frozen=True)
class Tiles:
    """BLOCK_M rows and BLOCK_N keys at a time, by ``warps`` warps, with ``stages`` tiles of keys in flight."""

    block_m: int
    block_n: int
    warps: int
    stages: int


Table = dict[str, dict[int, Tiles]]

# By kind of device and padded head dimension.
PREFILL: Table = {
    "hopper": {64: Tiles(128, 128, 8, 3), 128: Tiles(128, 128, 8, 3), 256: Tiles(128, 64, 8, 2)},
    "nvidia": {64: Tiles(128, 64, 8, 3), 128: Tiles(128, 64, 8, 3), 256: Tiles(64, 32, 8, 2)},
    "cdna": {64: Tiles(128, 64, 4, 2), 128: Tiles(128, 32, 4, 2), 256: Tiles(64, 32, 4, 1)},
    "rdna": {64: Tiles(128, 32, 8, 1), 128: Tiles(128, 16, 8, 1), 256: Tiles(16, 16, 8, 1)},
    "interpreter": dict.fromkeys((64, 128, 256), Tiles(32, 32, 1, 1)),
}
DECODE: Table = {
    "hopper": {64: Tiles(16, 128, 4, 3), 128: Tiles(16, 64, 4, 3), 256: Tiles(16, 32, 4, 3)},
    "nvidia": {64: Tiles(16, 32, 4, 3), 128: Tiles(16, 32, 4, 3), 256: Tiles(16, 32, 4, 2)},
    "cdna": {64: Tiles(16, 64, 4, 2), 128: Tiles(16, 32, 4, 2), 256: Tiles(16, 32, 4, 1)},
    "rdna": {64: Tiles(16, 32, 4, 1), 128: Tiles(16, 16, 4, 1), 256: Tiles(16, 16, 8, 1)},
    "interpreter": dict.fromkeys((64, 128, 256), Tiles(16, 32, 1, 1)),
}
TABLES = {"prefill": PREFILL, "decode": DECODE}
BLOCKS_PER_PROCESSOR = 2  # thread blocks of decoding that run beside each other
MIN_SPLIT_KEYS, MAX_SPLIT_KEYS = 128, 4096


def kind_of(target: Target) -> str:
    """The row of a table."""
    if target.backend == "cuda":
        return "hopper" if target.arch == 90 else "nvidia"
    if target.backend == "hip":
        return "cdna" if target.warp_size == 64 else "rdna"
    return target.backend


def name_of(kind: str, dim_padded: int, itemsize: int) -> str:
    """What a configuration that was measured is called: see ``tuned``."""
    return f"attention-{kind}-d{dim_padded}-{itemsize}"


def tiles_here(kind: str, target: Target, dim_padded: int, itemsize: int) -> Tiles:
    """What was measured on this device for ``kind``, a name of ``TABLES``, else what its table says."""
    numbers = tuned.numbers_of(name_of(kind, dim_padded, itemsize))
    return tiles_of(TABLES[kind], target, dim_padded, itemsize) if numbers is None else Tiles(*numbers)


def tiles_of(table: Table, target: Target, dim_padded: int, itemsize: int) -> Tiles:
    """The configuration for keys and values of ``itemsize`` bytes."""
    tiles = table[kind_of(target)][max(64, dim_padded)]
    if dim_padded == 256 and itemsize != 2:  # bytes that become halves, or whole words, fill the registers of long rows
        tiles = replace(tiles, block_m=min(tiles.block_m, 32), block_n=min(tiles.block_n, 32))
    if itemsize <= 2:
        return tiles
    rows, keys = min(tiles.block_m, 64), max(16, min(tiles.block_n // 2, 32))
    return replace(tiles, block_m=rows, block_n=keys, stages=min(tiles.stages, 2))


def decode_rows(rows: int, heads: int) -> int:
    """BLOCK_M of the decode kernel: 32 if ``rows``, the most of a request, need and fit it; ``heads`` fit always."""
    least = max(16, 1 << (heads - 1).bit_length())
    return 32 if least < rows <= 32 else least


def with_room(tiles: Tiles, rows: int) -> Tiles:
    """With more ``rows`` than 64, as 71 heads of one kv head need, fewer keys: their scores would lack registers."""
    return replace(tiles, block_n=min(tiles.block_n, 32)) if rows > 64 else tiles


@cache
def processors_of(device: torch.device) -> int:
    """Its multiprocessors."""
    return 4 if INTERPRETED else torch.cuda.get_device_properties(device).multi_processor_count


def decode_splits(programs: int, processors: int, table_keys: int) -> int:
    """Parts for each of ``programs`` (requests times kv heads), from what does not change from step to step.

    ``table_keys`` is the room of a request's block table. Programs run in waves of as many as the device has room for,
    and the last wave is seldom full: of the numbers that leave a part of the longest request at most MAX_SPLIT_KEYS
    and at least MIN_SPLIT_KEYS, this is the smallest whose waves are almost as full as they can be.
    """
    room = processors * BLOCKS_PER_PROCESSOR
    least = max(1, -(-table_keys // MAX_SPLIT_KEYS))
    most = max(least, min(table_keys // MIN_SPLIT_KEYS, -(-room // programs)))

    def fullness(splits: int) -> float:
        waves = programs * splits / room
        return waves / -(-programs * splits // room)

    best = max(map(fullness, range(least, most + 1)))
    return next(splits for splits in range(least, most + 1) if fullness(splits) >= 0.9 * best)
