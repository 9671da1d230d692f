"""What is added to the residual stream, multiplied by a factor: y = r + f x."""

from __future__ import annotations

from torch import Tensor


def add_scaled(x: Tensor, factor: float, residual: Tensor) -> Tensor:
    """x, residual [T, N] -> [T, N]."""
    return residual.add(x, alpha=factor)
