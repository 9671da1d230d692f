"""What an MLP does between its products, in fp32, rounded once. Functions by name: ``reference/activation.py``."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.triton.integers import cdiv

BLOCK = 1024  # values that one program gates


def gated_activation(gate_up: Tensor, name: str) -> Tensor:
    """gate_up [T, 2 I], gate in the left half -> activation(gate) * up, [T, I]."""
    tokens, size = gate_up.shape[0], gate_up.shape[1] // 2
    y = gate_up.new_empty(tokens, size)
    gate_kernel[(tokens, cdiv(size, BLOCK))](gate_up, y, SIZE=size, BLOCK=BLOCK, NAME=name)
    return y


@triton.jit
def gate_kernel(gate_up_ptr, y_ptr, SIZE: tl.constexpr, BLOCK: tl.constexpr, NAME: tl.constexpr):
    """A program gates BLOCK values of a token."""
    t = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < SIZE
    gate = tl.load(gate_up_ptr + 2 * t * SIZE + at, mask=inside).to(tl.float32)
    up = tl.load(gate_up_ptr + (2 * t + 1) * SIZE + at, mask=inside).to(tl.float32)
    y = activated(gate, NAME) * up
    tl.store(y_ptr + t * SIZE + at, y.to(y_ptr.dtype.element_ty), mask=inside)


@triton.jit
def activated(x, NAME: tl.constexpr):
    """The activation called NAME of x fp32."""
    if NAME == "silu":
        return x / (1 + tl.exp(-x))
    elif NAME == "relu":
        return tl.maximum(x, 0.0)
    elif NAME == "gelu":
        return 0.5 * x * (1 + tl.erf(x * 0.7071067811865476))
    else:  # gelu_tanh, where (1 + tanh(u)) / 2 is the sigmoid of 2u
        return x / (1 + tl.exp(-1.5957691216057308 * x - 0.07135481627260025 * x * x * x))


@triton.jit
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return 1 / (1 + tl.exp(-x))


@triton.jit
def tanh(x):
    """Without the tails' loss of an overflow: 1 for large x, -1 for small."""
    return 1 - 2 / (1 + tl.exp(2 * x))
