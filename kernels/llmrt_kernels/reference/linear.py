"""Dense matrix product: y = x W^T + b + r."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None = None) -> Tensor:
    """x [T, K], weight [N, K], bias [N], residual [T, N] -> [T, N]."""
    y = F.linear(x, weight, bias)
    return y if residual is None else residual + y
