"""The first half of an MLP with weights of floats; the contract is that of the reference.

Up to ``FEW`` tokens a program computes the rows of a few outputs, of gate and of up, and what is made of them.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.reference.activation import activation
from llmrt_kernels.triton.activation import activated, gated_activation
from llmrt_kernels.triton.dense_linear import dense_variant, linear, plus
from llmrt_kernels.triton.integers import cdiv
from llmrt_kernels.triton.overlap import begin
from llmrt_kernels.triton.product_dense import product_arguments, product_dense
from llmrt_kernels.triton.tiles import DENSE_ROWS, FEW


def gated_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, name: str = "silu", *, delta: Tensor | None = None
) -> Tensor:
    """x [T, K], weight [2 I, K], gate above up -> activation(gate) * up, [T, I]; ``delta`` [T, 2 I]."""
    if len(x) > FEW:
        return gated_activation(linear(x, weight, bias, delta), name)
    return _few(x, weight, bias, delta, name, gated=True)


def activated_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, name: str, *, delta: Tensor | None = None
) -> Tensor:
    """x [T, K], weight [I, K] -> activation(x W^T + bias + delta), [T, I]."""
    if len(x) > FEW:
        return activation(linear(x, weight, bias, delta), name)
    return _few(x, weight, bias, delta, name, gated=False)


def _few(x: Tensor, weight: Tensor, bias: Tensor | None, delta: Tensor | None, name: str, *, gated: bool) -> Tensor:
    halves = 2 if gated else 1
    size, outputs = len(weight) // halves, DENSE_ROWS // halves
    y = torch.empty(len(x), size, dtype=x.dtype, device=x.device)
    dense_activated_kernel[(cdiv(size, outputs),)](
        x, weight, bias, delta, y, SIZE=size, OUTPUTS=outputs, NAME=name, GATED=gated, **product_arguments(x, weight)
    )
    return y


@triton.jit(do_not_specialize=["tokens", "columns"])
def dense_activated_kernel(
    x_ptr,
    w_ptr,
    bias_ptr,
    delta_ptr,
    y_ptr,
    tokens,
    columns,
    SIZE: tl.constexpr,
    OUTPUTS: tl.constexpr,
    NAME: tl.constexpr,
    GATED: tl.constexpr,
    K: tl.constexpr,
    TOKENS: tl.constexpr,
    COLUMNS: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """A program computes OUTPUTS of the SIZE outputs of all tokens."""
    begin(OVERLAP)
    n = tl.program_id(0) * OUTPUTS + tl.arange(0, OUTPUTS)
    r = tl.arange(0, 2 * OUTPUTS if GATED else OUTPUTS)
    row = tl.minimum(tl.program_id(0) * OUTPUTS + r % OUTPUTS, SIZE - 1) + r // OUTPUTS * SIZE
    row = row.to(tl.int64)
    results = product_dense(x_ptr, tokens, w_ptr, row, columns, K, TOKENS, COLUMNS, OVERLAP)
    for t in tl.static_range(TOKENS):
        rows = 2 * SIZE if GATED else SIZE
        result = plus(results[t], bias_ptr, delta_ptr, tl.minimum(t, tokens - 1), row, rows)
        if GATED:
            gate, up = tl.split(tl.permute(tl.reshape(result, [2, OUTPUTS]), [1, 0]))
            y = activated(gate, NAME) * up
        else:
            y = activated(result, NAME)
        tl.store(y_ptr + t * SIZE + n, y.to(y_ptr.dtype.element_ty), mask=(n < SIZE) & (t < tokens))


VARIANTS = (
    dense_variant(
        "gated_linear-bf16-4_tokens",
        dense_activated_kernel,
        {"bias_ptr": "*bf16", "delta_ptr": "*bf16"},
        SIZE=14336,
        OUTPUTS=DENSE_ROWS // 2,
        NAME="silu",
        GATED=True,
        TOKENS=4,
    ),
)
