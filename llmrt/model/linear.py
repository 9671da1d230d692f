"""A matrix product whose weight decides how it is computed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from llmrt.ops.linear import LINEAR
from llmrt.ops.registry import resolve
from llmrt.ops.types import OpSpec


class Linear(nn.Module):
    """y = x W^T + b with W [out_features, in_features]."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, in_features: int, out_features: int, spec: OpSpec, *, bias: bool = False) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(out_features, in_features, dtype=spec.dtype, device="meta"))
        self.register_buffer("bias", torch.empty(out_features, dtype=spec.dtype, device="meta") if bias else None)
        self._linear = resolve(LINEAR, spec)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply. x [T, in_features] -> [T, out_features]."""
        return self._linear(x, self.weight, self.bias)
