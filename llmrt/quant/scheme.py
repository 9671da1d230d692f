"""How a weight is rounded."""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmrt_kernels.layout import OUTER_COLUMNS, STRIP_COLUMNS, STRIP_LINES

SCALE_BITS = 16
_LINE_BITS = 32  # of a row


@dataclass(frozen=True)
class QuantScheme:
    """``bits`` a code and a scale for each ``group`` of columns of a row: w = scale * (code - 2^(bits - 1)).

    That of an ``affine`` one is w = scale * (code - 2^(bits - 1)) + offset, with an offset for each group too. Those of
    a ``nested`` one are integers times scales for 256 columns, as in GGUF's K-quants, whose affine codes have no zero;
    ``group`` is that of activations then.
    """

    bits: int
    group: int
    affine: bool = False
    nested: bool = False

    @property
    def bits_per_weight(self) -> float:
        """Scales and offsets included."""
        scale_bits = (1 + self.affine) * SCALE_BITS
        if self.nested:
            return STRIP_LINES[self.bits] * _LINE_BITS / STRIP_COLUMNS + scale_bits / OUTER_COLUMNS
        return self.bits + scale_bits / self.group

    @property
    def flat(self) -> QuantScheme:
        """What stands for a nested one where kernels have no form for it."""
        return replace(self, bits=4 if self.bits == 4 else 8, nested=False)

    @property
    def scale_columns(self) -> int:
        """Columns that share a number of 16 bits."""
        return OUTER_COLUMNS if self.nested else self.group

    def words_of(self, columns: int) -> int:
        """Words of 32 bits that so many columns of a row take, whole ones."""
        return columns // STRIP_COLUMNS * STRIP_LINES[self.bits] if self.nested else columns * self.bits // 32

    def columns_of(self, words: int) -> int:
        """The columns in so many words."""
        return words // STRIP_LINES[self.bits] * STRIP_COLUMNS if self.nested else words * 32 // self.bits
