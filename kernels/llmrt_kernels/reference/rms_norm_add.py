"""RMSNorm of what is added to the residual stream: y = r + x / sqrt(mean(x^2) + eps) * w."""

from __future__ import annotations

from torch import Tensor

from llmrt_kernels.reference.rms_norm import rms_norm


def rms_norm_add(x: Tensor, weight: Tensor, eps: float, residual: Tensor) -> Tensor:
    """x, residual [T, N], weight [N] -> [T, N]."""
    return residual + rms_norm(x, weight, eps)
