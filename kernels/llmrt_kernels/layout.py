"""What packed weights look like in numbers alone. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

BLOCK = 16  # rows of a matrix that are packed together
_IQ4 = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


@dataclass(frozen=True)
class Form:
    """How a type of GGUF's lies, in strips: see ``reference/linear_packed.py``.

    A code has ``low`` bits and ``upper`` ones, in lines of their own, and stands for itself less ``zero`` or for a
    number of ``table``. ``outer`` columns share a scale of 16 bits, and an offset if ``affine``. Where ``part`` columns
    share integers that are multiplied by those, a row of a ``strip`` of columns has four bytes of them. ``dtype`` is
    that of ``llmrt_layouts.h``.
    """

    dtype: int
    low: int
    upper: int
    part: int
    affine: bool = False
    zero: int = 0
    table: tuple[int, ...] = ()
    strip: int = 64
    outer: int = 256

    @property
    def bits(self) -> int:
        """Those of a code."""
        return self.low + self.upper

    @property
    def lines(self) -> int:
        """Those of a strip, of 64 bytes: a word of 32 bits for each row."""
        return self.strip * self.bits // 32 + self.has_integers

    @property
    def has_integers(self) -> bool:
        """Whether scales are integers times others."""
        return self.outer > self.part


FORMS = {
    "q2_k": Form(9, 2, 0, part=16, affine=True),
    "q3_k": Form(8, 2, 1, part=16, zero=4),
    "q4_k": Form(5, 4, 0, part=32, affine=True),
    "q5_k": Form(7, 4, 1, part=32, affine=True),
    "q6_k": Form(6, 4, 2, part=16, zero=32),
    "iq4_xs": Form(10, 4, 0, part=32, table=_IQ4, strip=128),
    "iq4_nl": Form(11, 4, 0, part=32, table=_IQ4, strip=32, outer=32),
    "q5_0": Form(12, 4, 1, part=32, zero=16, strip=32, outer=32),
    "q5_1": Form(13, 4, 1, part=32, affine=True, strip=32, outer=32),
}
