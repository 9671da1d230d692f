"""y = x W^T + bias + residual with a weight of floats; the contract is that of the reference.

Up to ``FEW`` tokens, where bytes bound it, it is a kernel (``product_dense``), beyond that torch's product.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.reference.linear import linear as linear_of_torch
from llmrt_kernels.triton.integers import cdiv
from llmrt_kernels.triton.overlap import begin
from llmrt_kernels.triton.product_dense import product_arguments, product_dense
from llmrt_kernels.triton.target import TARGETS
from llmrt_kernels.triton.tiles import DENSE_ROWS, FEW, dense_turn
from llmrt_kernels.triton.variant import Variant


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None = None) -> Tensor:
    """x [T, K], weight [N, K], bias [N], residual [T, N] -> [T, N] of x's type."""
    if len(x) > FEW:
        return linear_of_torch(x, weight, bias, residual)
    rows = len(weight)
    y = torch.empty(len(x), rows, dtype=x.dtype, device=x.device)
    dense_linear_kernel[(cdiv(rows, DENSE_ROWS),)](
        x, weight, bias, residual, y, rows=rows, ROWS=DENSE_ROWS, **product_arguments(x, weight)
    )
    return y


@triton.jit(do_not_specialize=["tokens", "columns", "rows"])
def dense_linear_kernel(
    x_ptr,
    w_ptr,
    bias_ptr,
    residual_ptr,
    y_ptr,
    tokens,
    columns,
    rows,
    ROWS: tl.constexpr,
    K: tl.constexpr,
    TOKENS: tl.constexpr,
    COLUMNS: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """A program computes ROWS rows of all tokens."""
    begin(OVERLAP)
    n = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    row = tl.minimum(n, rows - 1).to(tl.int64)
    results = product_dense(x_ptr, tokens, w_ptr, row, columns, K, TOKENS, COLUMNS, OVERLAP)
    for t in tl.static_range(TOKENS):
        y = plus(results[t], bias_ptr, residual_ptr, tl.minimum(t, tokens - 1), row, rows)
        tl.store(y_ptr + t * rows + row, y.to(y_ptr.dtype.element_ty), mask=(n < rows) & (t < tokens))


@triton.jit
def plus(result, bias_ptr, added_ptr, token, row, rows):
    """result + bias + added, of rows ``row`` [R] of a token; bias [rows] and added [T, rows] where they are given."""
    if bias_ptr is not None:
        result += tl.load(bias_ptr + row).to(tl.float32)
    if added_ptr is not None:
        result += tl.load(added_ptr + token * rows + row).to(tl.float32)
    return result


def dense_variant(name: str, kernel: Any, signature: dict[str, str], **constants: Any) -> Variant:
    """A form for a matrix of 4096 columns in bf16, in the warps that launches have on each target."""
    of_product = {"x_ptr": "*bf16", "w_ptr": "*bf16", "y_ptr": "*bf16", "tokens": "i32", "columns": "i32"}
    turns = {target.name: dense_turn(4096, torch.bfloat16.itemsize, target) for target in TARGETS}
    tuned = {target: {"num_warps": warps} for target, (warps, _) in turns.items()}
    (at_once,) = {columns for _, columns in turns.values()}
    return Variant(name, kernel, of_product | signature, {"K": 4096, "COLUMNS": at_once} | constants, tuned=tuned)


VARIANTS = (
    dense_variant(
        "linear-bf16-1_token",
        dense_linear_kernel,
        {"bias_ptr": "*bf16", "residual_ptr": "*bf16", "rows": "i32"},
        TOKENS=1,
        ROWS=DENSE_ROWS,
    ),
)
