"""Launch configurations that were measured on the device at hand, in the place of those of the tables.

A name says what one is for, and its numbers are the fields of the table's:

attention-prefill-d128-2   ``attention_tuning.Tiles``; heads padded to 128 dimensions, keys of 2 bytes
attention-decode-d128-2
product-64-offsets         ``tiles.Tile`` of 64 tokens, for weights with offsets
"""

from __future__ import annotations

from collections.abc import Mapping

Numbers = tuple[int, ...]

_measured: dict[str, Numbers] = {}


def use(measured: Mapping[str, Numbers]) -> None:
    """Have launches use these and no others. Graphs that were recorded keep what they have."""
    _measured.clear()
    _measured.update(measured)


def numbers_of(name: str) -> Numbers | None:
    """What was measured for ``name``, None for nothing."""
    return _measured.get(name)
