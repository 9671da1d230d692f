"""The records of LoRA adapters that kernels take."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from llmrt_kernels.packed import BLOCK, Matrix


@dataclass(frozen=True)
class LowRank:
    """What an adapter adds to N outputs of a product, from ``start`` on: b (a x).

    ``a`` [R, K] and ``b`` [N, R] are of floats; R is a multiple of 16, the adapter's rank padded with zeros.
    """

    a: Matrix
    b: Matrix
    start: int


@dataclass(frozen=True, eq=False)
class LowRankTable:
    """What each adapter adds to a product of ``rows`` outputs, by its number: nothing where it leaves it alone."""

    rows: int
    adapters: tuple[tuple[LowRank, ...], ...]

    @property
    def form(self) -> Hashable:
        """Equal for tables whose kernels are compiled alike, by those that compile; None where nothing is added."""
        pieces = [piece for adapter in self.adapters for piece in adapter]
        if not pieces:
            return None
        count, most_pieces = max(15, len(self.adapters)), max(map(len, self.adapters))
        aligned = all(piece.start % BLOCK == 0 for piece in pieces)
        return count.bit_length(), most_pieces, max(piece.a.rows for piece in pieces), aligned
