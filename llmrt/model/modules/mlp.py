"""The dense MLPs, gated (https://arxiv.org/abs/2002.05202) or not."""

from __future__ import annotations

from torch import Tensor, nn

from llmrt.model.modules.linear import ActivatedLinear, GatedLinear, Linear
from llmrt.model.modules.lora import Lora
from llmrt.ops.types import Activations, OpSpec


class MLP(nn.Module):
    """down(activation(gate(x)) * up(x)), the gate and up matrices one above the other."""

    def __init__(
        self, hidden_size: int, intermediate_size: int, spec: OpSpec, *, bias: bool, activation: str = "silu"
    ) -> None:
        super().__init__()
        self.gate_up = GatedLinear(hidden_size, intermediate_size, spec, bias=bias, activation=activation)
        self.gate_up_lora = Lora(2 * intermediate_size, spec)
        self.down = Linear(intermediate_size, hidden_size, spec, bias=bias)
        self.down_lora = Lora(hidden_size, spec)

    def forward(self, x: Activations, residual: Tensor | None, adapters: Tensor | None = None) -> Tensor:
        """x, residual [T, hidden] -> mlp(x), added to the residual if there is one."""
        h = self.gate_up(x, self.gate_up_lora(x, adapters))
        return self.down(h, self.down_lora(h, adapters, residual))


class PlainMLP(nn.Module):
    """down(activation(up(x)))."""

    def __init__(self, hidden_size: int, intermediate_size: int, spec: OpSpec, *, bias: bool, activation: str) -> None:
        super().__init__()
        self.up = ActivatedLinear(hidden_size, intermediate_size, spec, bias=bias, activation=activation)
        self.up_lora = Lora(intermediate_size, spec)
        self.down = Linear(intermediate_size, hidden_size, spec, bias=bias)
        self.down_lora = Lora(hidden_size, spec)

    def forward(self, x: Activations, residual: Tensor | None, adapters: Tensor | None = None) -> Tensor:
        """x, residual [T, hidden] -> mlp(x), added to the residual if there is one."""
        h = self.up(x, self.up_lora(x, adapters))
        return self.down(h, self.down_lora(h, adapters, residual))
