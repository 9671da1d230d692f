"""A sparse mixture of experts: each token passes through a few MLPs of many."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from llmrt.model.config import MoeConfig
from llmrt.model.linear import Linear
from llmrt.ops.moe import MOE_EXPERTS
from llmrt.ops.registry import resolve
from llmrt.ops.types import OpSpec


class MoE(nn.Module):
    """A router and E experts, stacked: gate_up_weight [E, 2 I, hidden], down_weight [E, hidden, I]."""

    gate_up_weight: Tensor
    down_weight: Tensor

    def __init__(self, hidden_size: int, intermediate_size: int, moe: MoeConfig, spec: OpSpec) -> None:
        super().__init__()
        experts = moe.num_experts
        self.router = Linear(hidden_size, experts, spec)
        self.register_buffer("gate_up_weight", _unfilled(experts, 2 * intermediate_size, hidden_size, spec))
        self.register_buffer("down_weight", _unfilled(experts, hidden_size, intermediate_size, spec))
        self._num_active = moe.num_active
        self._moe_experts = resolve(MOE_EXPERTS, spec)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """x, residual [T, hidden] -> residual + what the experts make of x."""
        return residual + self._moe_experts(x, self.router(x), self.gate_up_weight, self.down_weight, self._num_active)


def _unfilled(experts: int, rows: int, columns: int, spec: OpSpec) -> Tensor:
    return torch.empty(experts, rows, columns, dtype=spec.dtype, device="meta")
