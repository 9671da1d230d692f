"""A gate for whole rows: y = sigmoid(x g^T) h, one number a row. Of h in int8 that is the scales multiplied."""

from __future__ import annotations

from dataclasses import replace

import torch
import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.packed import Codes
from llmrt_kernels.triton.activation import sigmoid
from llmrt_kernels.triton.codes import values_of
from llmrt_kernels.triton.integers import cdiv
from llmrt_kernels.triton.variant import Variant

COLUMNS = 1024  # of x that are read at a time
BLOCK = 1024  # values that one program gates


def gate_rows(x: Tensor | Codes, gate: Tensor, h: Tensor | Codes) -> Tensor | Codes:
    """x [T, N] of the type of ``h``, gate [1, N], h [T, I] -> [T, I]."""
    if isinstance(x, Codes):
        assert isinstance(h, Codes)
        return replace(h, scales=_gated((x.codes, x.scales), x.group, gate, h.scales))
    assert isinstance(h, Tensor)
    return _gated((x, None), 1, gate, h)


def _gated(x: tuple[Tensor, Tensor | None], group: int, gate: Tensor, h: Tensor) -> Tensor:
    y = torch.empty_like(h)
    tokens, inner = h.shape
    sizes = {"SIZE": gate.shape[1], "GROUP": group, "INNER": inner, "COLUMNS": COLUMNS, "BLOCK": BLOCK}
    gate_rows_kernel[(tokens, cdiv(inner, BLOCK))](*x, gate, h, y, **sizes)
    return y


@triton.jit
def gate_rows_kernel(
    x_ptr,
    x_scales_ptr,
    gate_ptr,
    h_ptr,
    y_ptr,
    SIZE: tl.constexpr,
    GROUP: tl.constexpr,
    INNER: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A program gates BLOCK values of a row, and works its gate out for itself."""
    t = tl.program_id(0).to(tl.int64)
    sums = tl.zeros([COLUMNS], tl.float32)
    for start in tl.range(0, SIZE, COLUMNS):
        k = start + tl.arange(0, COLUMNS)
        gate = tl.load(gate_ptr + k, mask=k < SIZE, other=0.0).to(tl.float32)
        sums += values_of(x_ptr, x_scales_ptr, t, k, SIZE, GROUP) * gate
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    h = tl.load(h_ptr + t * INNER + i, mask=i < INNER, other=0.0).to(tl.float32)
    y = h * sigmoid(tl.sum(sums, 0))
    tl.store(y_ptr + t * INNER + i, y.to(y_ptr.dtype.element_ty), mask=i < INNER)


VARIANTS = (
    Variant(
        "gate_rows-codes",
        gate_rows_kernel,
        {"x_ptr": "*i8", "x_scales_ptr": "*fp32", "gate_ptr": "*bf16", "h_ptr": "*fp32", "y_ptr": "*fp32"},
        {"SIZE": 2048, "GROUP": 64, "INNER": 88, "COLUMNS": COLUMNS, "BLOCK": BLOCK},
    ),
)
