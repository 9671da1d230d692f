"""The first half of an MLP with packed weights where adapters add to the product: in three steps, for the fused kernel
has no place for them. As int8 for the product that follows.
"""

from __future__ import annotations

from torch import Tensor

from llmrt_kernels.packed import Codes, Weight
from llmrt_kernels.reference.linear_packed import activated_linear_packed, gated_linear_packed
from llmrt_kernels.triton.codes import quantize_rows
from llmrt_kernels.triton.linear import linear


def gated_linear(x: Codes, weight: Weight, name: str = "silu", *, delta: Tensor) -> Codes:
    """x [T, K], delta [T, 2 I], all of gate's before all of up's -> activation(gate) * up, [T, I] in int8."""
    return quantize_rows(gated_linear_packed(x, weight, name, delta=delta, product=linear), x.group)


def activated_linear(x: Codes, weight: Weight, name: str, *, delta: Tensor) -> Codes:
    """x [T, K], delta [T, I] -> activation(x W^T + bias + delta), [T, I] in int8."""
    return quantize_rows(activated_linear_packed(x, weight, name, delta=delta, product=linear), x.group)
