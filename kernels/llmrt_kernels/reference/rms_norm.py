"""RMSNorm (https://arxiv.org/abs/1910.07467): y = x / sqrt(mean(x^2) + eps) * w, computed in fp32, rounded once."""

from __future__ import annotations

import torch
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, eps: float, group: int = 0) -> Tensor:
    """Normalise each row. x [.., N], weight [N] -> [.., N] of x's dtype.

    Where products take int8 activations, ``group`` of them share a scale; here they stay what they are.
    """
    del group
    wide = x.float()
    scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return (wide * scale * weight.float()).to(x.dtype)
