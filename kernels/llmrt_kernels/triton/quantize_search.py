"""The scale of a group: of a few candidates the one whose codes take most off the error, fitted once more to its codes.

A row's candidates are tried side by side, and each goes through the columns in order, as on the CPU.
"""

from __future__ import annotations

import triton
import triton.language as tl

from llmrt_kernels.triton.codes import nearest

# What the value of largest magnitude is tried as: the first, the step to the next, how many.
TRIED = {4: (-7.25, -0.5, 5), 8: (-128.0, 1.0, 4)}


@triton.jit
def searched(kept_ptr, importance_ptr, extreme, first, TRIED: tl.constexpr, GROUP: tl.constexpr, BITS: tl.constexpr):
    """The scales [ROWS] of the group of columns from ``first`` on, whose targets are kept."""
    candidate = tl.arange(0, triton.next_power_of_2(TRIED[2]))[None, :]
    xl, ll = fits(kept_ptr, importance_ptr, over(TRIED[0] + TRIED[1] * candidate, extreme[:, None]), first, GROUP, BITS)
    fitted = over(xl, ll)
    gain = tl.where((candidate < TRIED[2]) & (ll > 0), fitted * xl, 0.0)
    best = candidate == tl.argmax(gain, 1)[:, None]
    scale = tl.sum(tl.where(best & (gain > 0), fitted, 0.0), 1)[:, None]
    xl, ll = fits(kept_ptr, importance_ptr, over(1.0, scale), first, GROUP, BITS)
    return tl.sum(tl.where(ll > 0, over(xl, ll), scale), 1)


@triton.jit
def fits(kept_ptr, importance_ptr, inverse, first, GROUP: tl.constexpr, BITS: tl.constexpr):
    """sum(v x l) and sum(v l^2), for the codes l of x times ``inverse`` [ROWS, C]; v is the columns' importance."""
    xl = tl.zeros(inverse.shape, tl.float32)
    ll = xl
    for j in tl.range(0, GROUP, loop_unroll_factor=8):
        x = tl.load(kept_ptr + j * kept_ptr.shape[0])[:, None]
        v = 1.0 if importance_ptr is None else tl.load(importance_ptr + first + j)
        code = nearest_code(x * inverse, BITS)
        xl, ll = tl.fma(code * v, x, xl), tl.fma(code * v, code, ll)
    return xl, ll


@triton.jit
def nearest_code(x, BITS: tl.constexpr):
    """The code of x / scale, as fp32."""
    low: tl.constexpr = -(1 << (BITS - 1))
    return nearest(tl.maximum(tl.minimum(x, -low - 1.0), low * 1.0)).to(tl.float32)


@triton.jit
def over(a, b):
    """a / b, 0 where b is 0."""
    return tl.where(b == 0, 0.0, tl.div_rn(a, tl.where(b == 0, 1.0, b)))
