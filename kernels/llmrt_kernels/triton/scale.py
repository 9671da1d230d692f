"""Numbers multiplied, and what is added to the residual stream.

scale        y = s x, and if there is a cap c, y = c tanh(s x / c)
add_scaled   y = r + f x
add_rows     y = x + table[index]
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.triton.activation import tanh
from llmrt_kernels.triton.integers import cdiv
from llmrt_kernels.triton.variant import Variant

BLOCK = 1024  # values that one program scales


def scale(x: Tensor, factor: float, cap: float = 0.0) -> Tensor:
    """x [T, N] -> [T, N]; a cap of 0 is none."""
    return _scaled(x, None, None, torch.empty_like(x), factor, cap)


def add_scaled(x: Tensor, factor: float, residual: Tensor) -> Tensor:
    """x, residual [T, N] -> residual + factor x [T, N], of the residual's type."""
    return _scaled(x, None, residual, torch.empty_like(residual), factor, 0.0)


def add_rows(x: Tensor, table: Tensor, index: Tensor) -> Tensor:
    """x [T, N], table [P, N], index [T] int64 -> x + table[index] [T, N] of x's type."""
    return _scaled(table, index, x, torch.empty_like(x), 1.0, 0.0)


def _scaled(x: Tensor, index: Tensor | None, residual: Tensor | None, y: Tensor, factor: float, cap: float) -> Tensor:
    size = x.shape[1]
    scale_kernel[(len(y), cdiv(size, BLOCK))](x, index, residual, y, float(factor), float(cap), SIZE=size, BLOCK=BLOCK)
    return y


@triton.jit
def scale_kernel(x_ptr, index_ptr, residual_ptr, y_ptr, factor, cap, SIZE: tl.constexpr, BLOCK: tl.constexpr):
    """A program scales BLOCK values of a row, which is row t of x, or that of ``index_ptr``."""
    t = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    row = t if index_ptr is None else tl.load(index_ptr + t)
    y = tl.load(x_ptr + row * SIZE + i, mask=i < SIZE, other=0.0).to(tl.float32) * factor
    if cap > 0:
        y = cap * tanh(y / cap)
    if residual_ptr is not None:
        y += tl.load(residual_ptr + t * SIZE + i, mask=i < SIZE, other=0.0).to(tl.float32)
    tl.store(y_ptr + t * SIZE + i, y.to(y_ptr.dtype.element_ty), mask=i < SIZE)


VARIANTS = (
    Variant(
        "scale-bf16-rows-residual",
        scale_kernel,
        {"x_ptr": "*bf16", "index_ptr": "*i64", "residual_ptr": "*bf16", "y_ptr": "*bf16"}
        | {"factor": "fp32", "cap": "fp32"},
        {"SIZE": 4096, "BLOCK": BLOCK},
    ),
)
