"""The gate of SwiGLU (https://arxiv.org/abs/2002.05202): y = silu(gate) * up, silu(g) = g / (1 + exp(-g))."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def silu_mul(gate_up: Tensor) -> Tensor:
    """Gate. gate_up [T, 2 I], gate in the left half -> [T, I]."""
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up
