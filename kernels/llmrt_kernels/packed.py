"""The records that kernels with packed weights take. Layouts: ``reference/linear_packed.py``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from llmrt_kernels.layout import BLOCK, FORMS

ROW_PAD = 64  # bytes between two tokens' activations


@dataclass(frozen=True)
class Matrix:
    """N rows in blocks of 16, of ``bits`` a number.

    Quantized, ``data`` is uint8 [N/16, K/8 or K/4, 64] and ``scales`` fp16 [N/16, K/G, 16], and so are ``offsets`` if
    there are any. In a ``form`` of ``layout.FORMS`` ``data`` is uint8 [N/16, strips * lines, 64], and scales and
    offsets are for as many columns as it says. Else ``data`` is bf16 [N/16, K/2, 16, 2], or fp16
    or fp32 [N/16, K, 16, 1], without scales.
    """

    data: Tensor
    scales: Tensor | None
    bits: int
    rows: int
    offsets: Tensor | None = None
    form: str | None = None

    @property
    def tensors(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """As kernels take them."""
        return self.data, self.scales, self.offsets

    @property
    def columns(self) -> int:
        """K, with padding, of a matrix in codes."""
        lines = self.data.shape[1]
        if self.form is None:
            return lines * 32 // self.bits
        return lines // FORMS[self.form].lines * FORMS[self.form].strip


def in_blocks(weight: Tensor) -> Tensor:
    """A view of floats [.., N, K], N a multiple of 16, as ``Matrix.data``: [.., N/16, K/2 or K, 16, 2 or 1]."""
    pair = 2 if weight.dtype == torch.bfloat16 else 1
    return weight.unflatten(-1, (-1, pair)).unflatten(-3, (-1, BLOCK)).transpose(-3, -2)


@dataclass(frozen=True)
class Weight:
    """Matrices one above the other, all of ``group`` values to a scale, or of floats; ``bias`` [rows] fp32 or None.

    ``group`` is also how many rows of a gate and of what it gates stand in turn. That of floats is 16.
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
    to whole groups. ``q6_k`` int32 [T, K/G, 2], on a CPU: -32 times the sums of a group's first 16 codes and of the
    others, for products with forms that need them.
    """

    codes: Tensor
    scales: Tensor
    sums: Tensor
    group: int
    q6_k: Tensor | None = None

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """As kernels take them, without ``q6_k``."""
        return self.codes, self.scales, self.sums

    @property
    def num_tokens(self) -> int:
        """How many, T."""
        return self.codes.shape[0]

    @property
    def columns(self) -> int:
        """Values of each, K."""
        return self.scales.shape[1] * self.group


@dataclass(frozen=True)
class Rows:
    """Activations [T, K] as they are, for weights that are not quantized: ``values`` fp32 or bf16 [T, K + 64 bytes]."""

    values: Tensor

    @property
    def num_tokens(self) -> int:
        """How many, T."""
        return self.values.shape[0]

    @property
    def columns(self) -> int:
        """Values of each, K."""
        return self.values.shape[1] - ROW_PAD // self.values.element_size()
