"""RMSNorm, with the residual stream added on the way (https://arxiv.org/abs/1910.07467).

r' = x + r
y  = r' / sqrt(mean(r'^2) + eps) * w        computed in fp32, rounded once
"""

from __future__ import annotations

import torch
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Normalise each row. x [T, N], weight [N] -> [T, N] of x's dtype."""
    wide = x.float()
    scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return (wide * scale * weight.float()).to(x.dtype)


def add_rms_norm(x: Tensor, residual: Tensor | None, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Add x to the residual stream and normalise the sum. x, residual [T, N] -> (normed [T, N], new residual [T, N]).

    ``residual`` None starts the stream with x.
    """
    total = x if residual is None else x + residual
    return rms_norm(total, weight, eps), total
