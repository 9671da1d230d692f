"""How a weight is rounded."""

from __future__ import annotations

from dataclasses import dataclass

SCALE_BITS = 16


@dataclass(frozen=True)
class QuantScheme:
    """``bits`` a code and a scale for each ``group`` of columns of a row: w = scale * (code - 2^(bits - 1)).

    That of an ``affine`` one is w = scale * (code - 2^(bits - 1)) + offset, with an offset for each group too.
    """

    bits: int
    group: int
    affine: bool = False

    @property
    def bits_per_weight(self) -> float:
        """Scales and offsets included."""
        return self.bits + (1 + self.affine) * SCALE_BITS / self.group
