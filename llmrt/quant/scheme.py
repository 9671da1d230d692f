"""How a weight is rounded."""

from __future__ import annotations

from dataclasses import dataclass

SCALE_BITS = 16
ZERO_BITS = 8


@dataclass(frozen=True)
class QuantScheme:
    """``bits`` a code, and for each ``group`` of columns of a row a scale and, unless ``symmetric``, a zero.

    w = scale * (code - zero); symmetric: zero = 8 for 4 bits, 128 for 8.
    """

    bits: int
    group: int
    symmetric: bool = True

    @property
    def bits_per_weight(self) -> float:
        """Scales and zeros included."""
        return self.bits + (SCALE_BITS + (0 if self.symmetric else ZERO_BITS)) / self.group
