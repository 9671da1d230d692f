"""RMSNorm of the residual stream."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from llmrt.ops.registry import resolve
from llmrt.ops.rms_norm import RMS_NORM
from llmrt.ops.types import Activations, OpSpec
from llmrt_kernels.reference.rms_norm import rms_norm


class RMSNorm(nn.Module):
    """Normalises the residual stream for the product that follows."""

    weight: Tensor

    def __init__(self, size: int, eps: float, spec: OpSpec) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(size, dtype=spec.dtype, device="meta"))
        self._eps = eps
        self._group = spec.group
        self._rms_norm = resolve(RMS_NORM, spec)

    def forward(self, x: Tensor) -> Activations:
        """x [T, N] -> [T, N]."""
        return self._rms_norm(x, self.weight, self._eps, self._group)

    def states(self, x: Tensor) -> Tensor:
        """The same as numbers for a reader, never in int8. x [T, N] -> [T, N] fp32."""
        return rms_norm(x.float(), self.weight, self._eps)
