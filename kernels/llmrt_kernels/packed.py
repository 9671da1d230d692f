"""The records that kernels with quantized weights take. Layouts: ``reference/linear_packed.py``."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Matrix:
    """N rows in codes of ``bits`` width: ``data`` uint8 [N/16, K/8 or K/4, 64], ``scales`` fp16 [N/16, K/G, 16]."""

    data: Tensor
    scales: Tensor
    bits: int
    rows: int


@dataclass(frozen=True)
class Weight:
    """Matrices one above the other, all of ``group`` values to a scale; ``bias`` [rows] fp32 or None.

    All matrices but the last have a multiple of 16 rows.
    """

    pieces: tuple[Matrix, ...]
    group: int
    bias: Tensor | None = None

    @property
    def rows(self) -> int:
        """Rows of all matrices."""
        return sum(piece.rows for piece in self.pieces)


@dataclass(frozen=True)
class Codes:
    """Activations [T, K] in int8: x = scale * code, a scale for each ``group`` values.

    ``codes`` int8 [T, K + 64], ``scales`` fp32 [T, K/G], ``sums`` int32 [T, K/G] of the codes of a group; K is padded
    to whole groups.
    """

    codes: Tensor
    scales: Tensor
    sums: Tensor
    group: int

    @property
    def num_tokens(self) -> int:
        """T."""
        return self.codes.shape[0]

    @property
    def columns(self) -> int:
        """K."""
        return self.scales.shape[1] * self.group
