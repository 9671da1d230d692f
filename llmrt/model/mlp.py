"""SwiGLU (https://arxiv.org/abs/2002.05202): down(silu(gate(x)) * up(x))."""

from __future__ import annotations

from torch import Tensor, nn

from llmrt.model.linear import GatedLinear, Linear
from llmrt.ops.types import Activations, OpSpec


class MLP(nn.Module):
    """The dense MLP, its gate and up matrices one above the other."""

    def __init__(self, hidden_size: int, intermediate_size: int, spec: OpSpec, *, bias: bool) -> None:
        super().__init__()
        self.gate_up = GatedLinear(hidden_size, intermediate_size, spec, bias=bias)
        self.down = Linear(intermediate_size, hidden_size, spec, bias=bias)

    def forward(self, x: Activations, residual: Tensor) -> Tensor:
        """x, residual [T, hidden] -> residual + mlp(x)."""
        return self.down(self.gate_up(x), residual)
