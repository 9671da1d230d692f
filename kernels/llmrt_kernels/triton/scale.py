"""Numbers multiplied and, if there is a cap c, bent to stay below it: y = s x, then y = c tanh(y / c)."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.triton.activation import tanh
from llmrt_kernels.triton.variant import Variant

BLOCK = 1024  # values that one program scales


def scale(x: Tensor, factor: float, cap: float = 0.0) -> Tensor:
    """x [T, N] -> [T, N]; a cap of 0 is none."""
    y = torch.empty_like(x)
    grid = (x.shape[0], triton.cdiv(x.shape[1], BLOCK))
    scale_kernel[grid](x, y, float(factor), float(cap), SIZE=x.shape[1], CAPPED=cap > 0, BLOCK=BLOCK)
    return y


@triton.jit
def scale_kernel(x_ptr, y_ptr, factor, cap, SIZE: tl.constexpr, CAPPED: tl.constexpr, BLOCK: tl.constexpr):
    """A program scales BLOCK values of a row."""
    t = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    y = tl.load(x_ptr + t * SIZE + i, mask=i < SIZE, other=0.0).to(tl.float32) * factor
    if CAPPED:
        y = cap * tanh(y / cap)
    tl.store(y_ptr + t * SIZE + i, y.to(y_ptr.dtype.element_ty), mask=i < SIZE)


VARIANTS = (
    Variant(
        "scale-fp32-capped",
        scale_kernel,
        {"x_ptr": "*fp32", "y_ptr": "*fp32", "factor": "fp32", "cap": "fp32"},
        {"SIZE": 256000, "CAPPED": True, "BLOCK": BLOCK},
    ),
)
