"""Numbers multiplied and, if there is a cap c, bent to stay below it: y = s x, then y = c tanh(y / c)."""

from __future__ import annotations

from torch import Tensor


def scale(x: Tensor, factor: float, cap: float = 0.0) -> Tensor:
    """x [T, N] -> [T, N]; a cap of 0 is none."""
    scaled = x * factor if factor != 1 else x
    return cap * (scaled / cap).tanh() if cap else scaled
