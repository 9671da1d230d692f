"""llama.cpp's saved state of one sequence, made longer than it was: a depth that nobody computed.

The layout (llama-kv-cache.cpp, state_write): the number of streams; for each the number of cells, for each cell its
position, the number of its sequences and their ids; then whether values lie transposed, the number of layers, and for
keys and then values of each layer the type, the bytes of a row, the rows.
"""

from __future__ import annotations

import struct


class StateError(Exception):
    """The state is not laid out as described above."""


def tiled_state(state: bytes, num_cells: int, depth: int) -> bytearray:
    """The state of ``num_cells`` cells as one of ``depth`` cells, whose keys and values repeat those that are there."""
    cells = _cells(num_cells)
    start = state.find(cells)
    if start < 0:
        raise StateError("the cells of the sequence were not found in its state")
    out = bytearray(state[:start])
    out += _cells(depth)
    at = start + len(cells)
    transposed, num_layers = struct.unpack_from("<II", state, at)
    if transposed:
        raise StateError("values lie transposed: flash attention is off")
    out += state[at : at + 8]
    at += 8
    for _ in range(2 * num_layers):
        _, row = struct.unpack_from("<iQ", state, at)
        end = at + 12 + num_cells * row
        rows = state[at + 12 : end]
        out += state[at : at + 12]
        out += (rows * -(-depth // num_cells))[: depth * row]
        at = end
    if any(state[at:]):
        raise StateError(f"{len(state) - at} bytes follow the values that are not the empty streams of other sequences")
    return out + state[at:]


def _cells(count: int) -> bytes:
    """The positions 0 to ``count``, each of the one sequence 0."""
    return struct.pack("<I", count) + b"".join(struct.pack("<iIi", position, 1, 0) for position in range(count))
