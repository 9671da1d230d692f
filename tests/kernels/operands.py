"""Random operands, and how far a result is from what it should be."""

from __future__ import annotations

import torch
from torch import Tensor


def draw(*shape: int, seed: int = 0) -> Tensor:
    """The same for the same shape and seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape) + seed))


def relative(actual: Tensor, expected: Tensor) -> float:
    """The distance as a share of what is expected."""
    return float((actual.double() - expected).norm() / expected.norm())
