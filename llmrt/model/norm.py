"""RMSNorm of the residual stream, and of queries and keys."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from llmrt.ops.registry import resolve
from llmrt.ops.rms_norm import RMS_NORM
from llmrt.ops.types import Activations, OpSpec
from llmrt_kernels.head_norm import HeadNorm
from llmrt_kernels.reference.rms_norm import rms_norm


class QKNorm(nn.Module):
    """The weights that each head of the queries and of the keys is normalised with."""

    q: Tensor
    k: Tensor

    def __init__(self, head_dim: int, eps: float, spec: OpSpec) -> None:
        super().__init__()
        for name in ("q", "k"):
            self.register_buffer(name, torch.empty(head_dim, dtype=spec.dtype, device="meta"))
        self._eps = eps

    @property
    def record(self) -> HeadNorm:
        """As the product takes them."""
        return HeadNorm(self.q, self.k, self._eps)


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
