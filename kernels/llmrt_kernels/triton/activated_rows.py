"""A product's results activated and rounded to int8, where the product has no place for that (``activated_linear``).

gated       activation(gate) * up, where a group's results of gate stand before those of up
not gated   activation(y)

A delta, which is added before that, has all of gate's results before all of up's.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.packed import Codes
from llmrt_kernels.triton.activation import activated
from llmrt_kernels.triton.codes import TILE, empty_codes, store_codes
from llmrt_kernels.triton.integers import cdiv, next_power_of_2


def activated_rows(
    product: Tensor, bias: Tensor | None, delta: Tensor | None, group: int, name: str, *, gated: bool
) -> Codes:
    """product, delta [T, 2 I] if ``gated``, else [T, I] -> [T, I] in int8, a scale for each ``group``.

    The bias [2 I] or [I] is in the order of the product's results.
    """
    tokens, columns = product.shape
    size = columns // 2 if gated else columns
    y = empty_codes(tokens, size, group, product.device)
    groups = min(next_power_of_2(y.scales.shape[1]), TILE // group)
    activated_rows_kernel[(tokens, cdiv(y.scales.shape[1], groups))](
        product, bias, delta, *y.tensors, SIZE=size, GROUPS=groups, GROUP=group, NAME=name, GATED=gated
    )
    return y


@triton.jit
def activated_rows_kernel(
    x_ptr,
    bias_ptr,
    delta_ptr,
    y_ptr,
    y_scales_ptr,
    y_sums_ptr,
    SIZE: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
    NAME: tl.constexpr,
    GATED: tl.constexpr,
):
    """A program makes GROUPS groups of a token. What is past the last one is 0, for so it is after an activation."""
    t = tl.program_id(0).to(tl.int64)
    g = tl.program_id(1) * GROUPS + tl.arange(0, GROUPS)
    at = g[:, None] * GROUP + tl.arange(0, GROUP)[None, :]
    inside = at < SIZE
    row = t * (2 * SIZE if GATED else SIZE)
    x_ptr += row
    if delta_ptr is not None:
        delta_ptr += row
    if GATED:
        above = at + (g * GROUP)[:, None]
        below = above + group_size(g, SIZE, GROUP)[:, None]
        up = added(x_ptr, bias_ptr, below, delta_ptr, SIZE + at, inside)
        y = activated(added(x_ptr, bias_ptr, above, delta_ptr, at, inside), NAME) * up
    else:
        y = activated(added(x_ptr, bias_ptr, at, delta_ptr, at, inside), NAME)
    store_codes(y, t, g, y_ptr, y_scales_ptr, y_sums_ptr, tl.cdiv(SIZE, GROUP))


@triton.jit
def group_size(g, SIZE: tl.constexpr, GROUP: tl.constexpr):
    """How many of SIZE values groups ``g`` [n] have, a multiple of 16."""
    if SIZE % GROUP == 0:
        return tl.zeros_like(g) + GROUP
    else:
        return tl.multiple_of(tl.minimum(GROUP, SIZE - g * GROUP), 16)


@triton.jit
def added(x_ptr, bias_ptr, at, delta_ptr, delta_at, inside):
    """The product's values at ``at``, with what is added to them, in fp32."""
    x = tl.load(x_ptr + at, mask=inside, other=0.0).to(tl.float32)
    if bias_ptr is not None:
        x += tl.load(bias_ptr + at, mask=inside, other=0.0).to(tl.float32)
    if delta_ptr is not None:
        x += tl.load(delta_ptr + delta_at, mask=inside, other=0.0).to(tl.float32)
    return x
