"""SwiGLU (https://arxiv.org/abs/2002.05202): down(silu(gate(x)) * up(x))."""

from __future__ import annotations

from torch import Tensor, nn

from llmrt.model.linear import Linear
from llmrt.ops.registry import resolve
from llmrt.ops.silu_mul import SILU_MUL
from llmrt.ops.types import OpSpec


class MLP(nn.Module):
    """The dense MLP, its gate and up matrices one above the other."""

    def __init__(self, hidden_size: int, intermediate_size: int, spec: OpSpec, *, bias: bool) -> None:
        super().__init__()
        self.gate_up = Linear(hidden_size, 2 * intermediate_size, spec, bias=bias)
        self.down = Linear(intermediate_size, hidden_size, spec, bias=bias)
        self._silu_mul = resolve(SILU_MUL, spec.of_size(intermediate_size))

    def forward(self, x: Tensor) -> Tensor:
        """x [T, hidden] -> [T, hidden]."""
        return self.down(self._silu_mul(self.gate_up(x)))
