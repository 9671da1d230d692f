"""How a weight is rounded."""

from __future__ import annotations

from dataclasses import dataclass

from llmrt_kernels.layout import FORMS, Form

SCALE_BITS = 16
_LINE_BITS = 32  # of a row
# Bits and offsets of what stands for a form where kernels do not take it; int8 for others.
_FLAT = {"q4_k": (4, True), "q5_k": (8, True), "q5_1": (8, True)}


@dataclass(frozen=True)
class QuantScheme:
    """``bits`` a code and a scale for each ``group`` of columns of a row: w = scale * (code - 2^(bits - 1)).

    That of an ``affine`` one is w = scale * (code - 2^(bits - 1)) + offset, with an offset for each group too. One with
    a ``form`` lies as a type of GGUF's does (``layout.FORMS``); ``group`` is that of activations then.
    """

    bits: int
    group: int
    affine: bool = False
    form: str | None = None

    @classmethod
    def of_form(cls, name: str, group: int) -> QuantScheme:
        """That of the form called ``name``."""
        return cls(FORMS[name].bits, group, FORMS[name].affine, name)

    @property
    def bits_per_weight(self) -> float:
        """Scales, offsets and integers included."""
        scale_bits = (1 + self.affine) * SCALE_BITS / self.scale_columns
        form = self._form
        return (self.bits if form is None else form.lines * _LINE_BITS / form.strip) + scale_bits

    @property
    def flat(self) -> QuantScheme:
        """What stands for one with a form where kernels do not take it; else itself."""
        if self.form is None:
            return self
        bits, affine = _FLAT.get(self.form, (8, False))
        return QuantScheme(bits, self.group, affine)

    @property
    def scale_columns(self) -> int:
        """Columns that share a number of 16 bits."""
        return self.group if self._form is None else self._form.outer

    def words_of(self, columns: int) -> int:
        """Words of 32 bits that so many columns of a row take, whole ones."""
        form = self._form
        return columns * self.bits // 32 if form is None else columns // form.strip * form.lines

    def columns_of(self, words: int) -> int:
        """The columns in so many words."""
        form = self._form
        return words * 32 // self.bits if form is None else words // form.lines * form.strip

    @property
    def _form(self) -> Form | None:
        return None if self.form is None else FORMS[self.form]
