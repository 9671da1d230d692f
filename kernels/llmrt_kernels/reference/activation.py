"""What an MLP does between its products.

gelu       y = x Phi(x), Phi the normal distribution's (https://arxiv.org/abs/1606.08415)
gelu_tanh  the same with Phi(x) = (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
}


def activation(x: Tensor, name: str) -> Tensor:
    """x [T, N] -> [T, N]."""
    return FUNCTIONS[name](x)


def gated_activation(gate_up: Tensor, name: str) -> Tensor:
    """gate_up [T, 2 I], gate in the left half -> activation(gate) * up, [T, I]."""
    gate, up = gate_up.chunk(2, dim=-1)
    return FUNCTIONS[name](gate) * up
