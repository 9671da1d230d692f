"""A sparse mixture of experts: each token passes through a few MLPs of many."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from llmrt.model.config import MoeConfig
from llmrt.model.modules.linear import Linear
from llmrt.model.modules.mlp import MLP
from llmrt.ops.registry import resolve
from llmrt.ops.table import GATE_ROWS, MOE_EXPERTS, MOE_EXPERTS_PACKED
from llmrt.ops.types import Activations, OpSpec


class Experts(nn.Module):
    """A matrix of each expert, stacked: weight [E, out_features, in_features].

    Its packed twin is ``PackedExperts``.
    """

    weight: Tensor

    def __init__(self, num_experts: int, in_features: int, out_features: int, spec: OpSpec) -> None:
        super().__init__()
        weight = torch.empty(num_experts, out_features, in_features, dtype=spec.dtype, device="meta")
        self.register_buffer("weight", weight)


class GatedExperts(Experts):
    """Each has the gate's matrix above that of what it gates."""

    def __init__(self, num_experts: int, in_features: int, inner_features: int, spec: OpSpec) -> None:
        super().__init__(num_experts, in_features, 2 * inner_features, spec)


class SharedExpert(MLP):
    """The MLP that every token passes through, as far as a gate of its own opens."""

    def __init__(self, hidden_size: int, intermediate_size: int, spec: OpSpec) -> None:
        super().__init__(hidden_size, intermediate_size, spec, bias=False)
        self.gate = Linear(hidden_size, 1, spec)
        self._gate_rows = resolve(GATE_ROWS, spec)

    def forward(self, x: Activations, residual: Tensor | None, adapters: Tensor | None = None) -> Tensor:
        """x, residual [T, hidden] -> residual + gate(x) * mlp(x)."""
        h = self.gate_up(x, self.gate_up_lora(x, adapters))
        h = self._gate_rows(x, self.gate.weight, h)
        return self.down(h, self.down_lora(h, adapters, residual))


class MoE(nn.Module):
    """A router and its experts."""

    def __init__(self, hidden_size: int, moe: MoeConfig, spec: OpSpec) -> None:
        super().__init__()
        intermediate_size = moe.intermediate_size
        self.router = Linear(hidden_size, moe.num_experts, spec)
        self.gate_up = GatedExperts(moe.num_experts, hidden_size, intermediate_size, spec)
        self.down = Experts(moe.num_experts, intermediate_size, hidden_size, spec)
        self.shared = SharedExpert(hidden_size, moe.shared_size, spec) if moe.shared_size else None
        self._num_active = moe.num_active
        experts: Callable[..., Tensor] = (
            resolve(MOE_EXPERTS_PACKED, spec) if spec.packed else resolve(MOE_EXPERTS, spec)
        )
        self._moe_experts = partial(experts, renormalize=moe.renormalize)

    def forward(self, x: Activations, residual: Tensor, adapters: Tensor | None = None) -> Tensor:
        """x, residual [T, hidden] -> residual + what the experts make of x. Adapters leave the experts alone."""
        if self.shared is not None:
            residual = self.shared(x, residual, adapters)
        return self._moe_experts(
            x, self.router.weight, self.gate_up.weight, self.down.weight, self._num_active, residual
        )
