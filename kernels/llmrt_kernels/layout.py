"""What packed weights look like in numbers alone. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

BLOCK = 16  # rows of a matrix that are packed together
OUTER_COLUMNS = 256  # that share the scales which integers are multiplied by
_IQ4 = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


@dataclass(frozen=True)
class Form:
    """How a type of GGUF's lies whose scales are integers times others: see ``reference/linear_packed.py``.

    A code has ``low`` bits and ``upper`` ones, in lines of their own, and stands for itself less ``zero`` or for a
    number of ``table``. ``part`` columns share their integers, of which a row of a ``strip`` of columns has four bytes.
    ``affine``: with offsets. ``dtype`` is that of ``llmrt_layouts.h``.
    """

    dtype: int
    low: int
    upper: int
    part: int
    affine: bool = False
    zero: int = 0
    table: tuple[int, ...] = ()
    strip: int = 64

    @property
    def bits(self) -> int:
        """Those of a code."""
        return self.low + self.upper

    @property
    def lines(self) -> int:
        """Those of a strip, of 64 bytes: a word of 32 bits for each row."""
        return self.strip * self.bits // 32 + 1


FORMS = {
    "q2_k": Form(9, 2, 0, part=16, affine=True),
    "q3_k": Form(8, 2, 1, part=16, zero=4),
    "q4_k": Form(5, 4, 0, part=32, affine=True),
    "q5_k": Form(7, 4, 1, part=32, affine=True),
    "q6_k": Form(6, 4, 2, part=16, zero=32),
    "iq4_xs": Form(10, 4, 0, part=32, table=_IQ4, strip=128),
}
