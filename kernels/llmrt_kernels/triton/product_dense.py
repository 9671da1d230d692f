"""x W^T for a few tokens and a weight of floats.

y[t, n] = sum over k of x[t, k] w[n, k], in fp32

A thread block has a few rows, and walks through their columns, COLUMNS a turn:

    lane       0        1       ...     127
    row 0    16 B     16 B      ...    16 B      of a lane: one load of each row, and of x those columns once
    row 1    16 B     16 B      ...    16 B
    ...

It asks for all of the turn's weights, then multiplies: a barrier keeps the compiler from asking for a row only where it
is used. A lane adds up what it has of a row; lanes are added once, behind the last turn. With OVERLAP the first turn's
weights are asked for before the kernel in front has ended.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.triton.overlap import overlap, wait
from llmrt_kernels.triton.target import target_of
from llmrt_kernels.triton.tiles import dense_turn, tokens_at_once


def product_arguments(x: Tensor, weight: Tensor) -> dict[str, int | bool]:
    """What a kernel that multiplies so is launched with besides its tensors."""
    target, columns = target_of(x.device), weight.shape[1]
    warps, at_once = dense_turn(columns, weight.itemsize, target)
    sizes = {"tokens": len(x), "columns": columns, "K": columns, "COLUMNS": at_once, "num_warps": warps}
    return {**sizes, "TOKENS": tokens_at_once(len(x)), **overlap(target)}


@triton.jit
def product_dense(
    x_ptr,
    tokens,
    w_ptr,
    row,
    columns,
    K: tl.constexpr,
    TOKENS: tl.constexpr,
    COLUMNS: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """Results [R] fp32 of each of TOKENS tokens, of which there are ``tokens``; what follows repeats the last.

    x [tokens, K]; ``row`` int64 [R] says which rows of w [N, K]. ``columns`` is K once more, as a number that the
    compiler does not know: it unrolls a loop of few turns, and then asks for what a thread has no registers for.
    """
    ROWS: tl.constexpr = row.shape[0]
    LOADED: tl.constexpr = 128 // w_ptr.dtype.element_ty.primitive_bitwidth
    results = [tl.zeros([ROWS, COLUMNS // LOADED], tl.float32) for _ in (0, 1, 2, 3)[:TOKENS]]
    for start in tl.range(0, columns, COLUMNS):
        w = columns_of(w_ptr, row, start, K, COLUMNS)
        wait(OVERLAP)
        last = tl.zeros([1], tl.int64) + tokens - 1
        xs = [columns_of(x_ptr, tl.minimum(t, last), start, K, COLUMNS) for t in (0, 1, 2, 3)[:TOKENS]]
        tl.debug_barrier()
        products = [w.to(tl.float32) * x.to(tl.float32) for x in xs]
        sums = [tl.sum(tl.reshape(product, [ROWS, COLUMNS // LOADED, LOADED]), 2) for product in products]
        results = [results[t] + sums[t] for t in (0, 1, 2, 3)[:TOKENS]]
    return [tl.sum(result, 1) for result in results]


@triton.jit
def columns_of(ptr, row, start, K: tl.constexpr, COUNT: tl.constexpr):
    """Columns start to start + COUNT of rows ``row`` [n] of a matrix of K columns, 0 past its last."""
    k = start + tl.arange(0, COUNT)
    at = ptr + row[:, None] * K + k[None, :]
    return tl.load(at) if K % COUNT == 0 else tl.load(at, mask=(k < K)[None, :], other=0.0)
