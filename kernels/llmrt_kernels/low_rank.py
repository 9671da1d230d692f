"""The records of LoRA adapters that kernels take."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from llmrt_kernels.packed import BLOCK, Matrix


@dataclass(frozen=True)
class LowRank:
    """What an adapter adds to N outputs of a product, from ``start`` on: b (a x).

    ``a`` [R, K] and ``b`` [N, R] are of floats; R is a multiple of 16, the adapter's rank padded with zeros.
    """

    a: Matrix
    b: Matrix
    start: int


@dataclass(frozen=True)
class TableForm:
    """What the kernels of a table are compiled for, where they are: it may have as much as this.

    ``adapters`` counts in powers of two from 16 on, ``pieces`` and ``ranks`` are the most of an adapter and of a piece,
    and pieces start ``aligned`` with blocks of rows.
    """

    adapters: int = 0
    pieces: int = 0
    ranks: int = 0
    aligned: bool = True

    def with_room_for(self, other: TableForm) -> TableForm:
        """The least form that serves both."""
        return TableForm(
            max(self.adapters, other.adapters),
            max(self.pieces, other.pieces),
            max(self.ranks, other.ranks),
            self.aligned and other.aligned,
        )


@dataclass(frozen=True, eq=False)
class LowRankTable:
    """What each adapter adds to a product of ``rows`` outputs, by its number: nothing where it leaves it alone.

    What was compiled ``before`` is used as far as it goes, also where an adapter has left that needed more than others.
    """

    rows: int
    adapters: tuple[tuple[LowRank, ...], ...]
    before: TableForm = TableForm()

    @cached_property
    def form(self) -> TableForm:
        """See ``TableForm``."""
        pieces = [piece for adapter in self.adapters for piece in adapter]
        if not pieces:
            return self.before
        adapters, most_pieces = 1 << max(15, len(self.adapters)).bit_length(), max(map(len, self.adapters))
        ranks, aligned = max(piece.a.rows for piece in pieces), all(piece.start % BLOCK == 0 for piece in pieces)
        return self.before.with_room_for(TableForm(adapters, most_pieces, ranks, aligned))
