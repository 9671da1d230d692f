"""How a weight is rounded."""

from __future__ import annotations

from dataclasses import dataclass

SCALE_BITS = 16


@dataclass(frozen=True)
class QuantScheme:
    """``bits`` a code and a scale for each ``group`` of columns of a row: w = scale * (code - 2^(bits - 1))."""

    bits: int
    group: int

    @property
    def bits_per_weight(self) -> float:
        """Scales included."""
        return self.bits + SCALE_BITS / self.group
