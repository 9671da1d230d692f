"""The gate of SwiGLU: y = silu(gate) * up, silu(g) = g / (1 + exp(-g)), in fp32, rounded once."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.triton.variant import Variant

BLOCK = 1024  # values that one program gates


def silu_mul(gate_up: Tensor) -> Tensor:
    """Gate. gate_up [T, 2 I], gate in the left half -> [T, I]."""
    tokens, size = gate_up.shape[0], gate_up.shape[1] // 2
    y = gate_up.new_empty(tokens, size)
    silu_mul_kernel[(tokens, triton.cdiv(size, BLOCK))](gate_up, y, SIZE=size, BLOCK=BLOCK)
    return y


@triton.jit
def silu_mul_kernel(gate_up_ptr, y_ptr, SIZE: tl.constexpr, BLOCK: tl.constexpr):
    """A program gates BLOCK values of a token."""
    t = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < SIZE
    gate = tl.load(gate_up_ptr + 2 * t * SIZE + at, mask=inside).to(tl.float32)
    up = tl.load(gate_up_ptr + (2 * t + 1) * SIZE + at, mask=inside).to(tl.float32)
    y = gate / (1 + tl.exp(-gate)) * up
    tl.store(y_ptr + t * SIZE + at, y.to(y_ptr.dtype.element_ty), mask=inside)


VARIANTS = (
    Variant(
        "silu_mul-bf16",
        silu_mul_kernel,
        {"gate_up_ptr": "*bf16", "y_ptr": "*bf16"},
        {"SIZE": 14336, "BLOCK": BLOCK},
    ),
)
