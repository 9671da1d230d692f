"""RMSNorm over the residual stream."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from llmrt.ops.registry import resolve
from llmrt.ops.rms_norm import ADD_RMS_NORM
from llmrt.ops.types import OpSpec


class AddRMSNorm(nn.Module):
    """Adds a layer's output to the residual stream and normalises the sum for the next layer."""

    weight: Tensor

    def __init__(self, size: int, eps: float, spec: OpSpec) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(size, dtype=spec.dtype, device="meta"))
        self._eps = eps
        self._add_rms_norm = resolve(ADD_RMS_NORM, spec.of_size(size))

    def forward(self, x: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor]:
        """x [T, N], residual [T, N] or None at the start -> (normed, residual), both [T, N]."""
        return self._add_rms_norm(x, residual, self.weight, self._eps)
