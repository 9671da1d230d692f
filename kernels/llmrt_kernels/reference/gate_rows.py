"""A gate for whole rows: y = sigmoid(x g^T) h, one number a row."""

from __future__ import annotations

from torch import Tensor

from llmrt_kernels.reference.linear import linear


def gate_rows(x: Tensor, gate: Tensor, h: Tensor) -> Tensor:
    """x [T, N] of the type of ``h``, gate [1, N], h [T, I] -> [T, I]."""
    return linear(x, gate, None).sigmoid() * h
