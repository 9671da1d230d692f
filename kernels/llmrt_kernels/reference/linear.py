"""y = x W^T + b, with W [N, K] as checkpoints store it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply. x [T, K], weight [N, K], bias [N] -> [T, N]."""
    return F.linear(x, weight, bias)
