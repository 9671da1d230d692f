"""x W^T for a few tokens, by instructions that multiply four bytes at a time.

y[t, n] = sum over groups g of  sx[t, g] sw[n, g] (sum over k in g of x8[t, k] code[n, k]  -  zero sum8[t, g])

and for weights with offsets  + sx[t, g] offset[n, g] sum8[t, g].
Weights are lines of 16 rows (``reference/linear_packed.py``), read as words: word r of line j of a block holds 8
(int4) or 4 (int8) columns of row r. A thread has all lines of a group for four rows, so the inner sums stay in its
registers and the scales are applied once a group. A thread block walks through the columns, SPAN groups a turn: it
asks for all of the turn's weights, then multiplies. How many bytes are on their way is what a large card's speed
depends on, so a barrier keeps the compiler from asking for a line only where it is used. With OVERLAP the first turn's
are asked for before the kernel in front has ended.
"""

from __future__ import annotations

import triton
import triton.language as tl

from llmrt_kernels.triton.codes import PAD
from llmrt_kernels.triton.dot4 import dot4
from llmrt_kernels.triton.overlap import wait

NIBBLES = tl.constexpr(0x0F0F0F0F)
ZEROS = tl.constexpr(-0x7F7F7F80)  # 0x80808080: a code of 8 bits with its zero 128 taken off is  code ^ 0x80

BLOCK = tl.constexpr(16)  # rows that are packed together


@triton.jit
def product_dot4(
    x,
    first,
    last,
    w,
    block,
    row,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
    BITS: tl.constexpr,
    TOKENS: tl.constexpr,
    SPAN: tl.constexpr,
    ASM: tl.constexpr,
    OVERLAP: tl.constexpr = False,
):
    """Results [R] fp32 of each of the tokens first, ..., first + TOKENS - 1; what follows ``last`` (int64) repeats it.

    ``x`` are the pointers of ``Codes``, ``w`` those of data, scales and offsets, None for none; ``block`` int64 [R],
    ``row`` [R] say where the rows of the weight are, runs of 16 in order.
    """
    x_ptr, x_scales_ptr, x_sums_ptr = x
    w_ptr, w_scales_ptr, w_offsets_ptr = w
    LINES: tl.constexpr = GROUP * BITS // 32
    ROWS: tl.constexpr = row.shape[0]
    w_ptr = w_ptr.to(tl.pointer_type(tl.int32)) + (block * GROUPS * (LINES * BLOCK) + row)[None, :]
    w_scales_ptr += (block * GROUPS * BLOCK + row)[None, :]
    if w_offsets_ptr is not None:
        w_offsets_ptr += (block * GROUPS * BLOCK + row)[None, :]
    tokens = [tl.minimum(first + t, last) for t in (0, 1, 2, 3)[:TOKENS]]
    results = [tl.zeros([SPAN, ROWS], tl.float32) for _ in (0, 1, 2, 3)[:TOKENS]]
    for start in tl.range(0, GROUPS, SPAN):
        inside = start + tl.arange(0, SPAN) < GROUPS
        g = tl.minimum(start + tl.arange(0, SPAN), GROUPS - 1)
        line_ptr = w_ptr + g[:, None] * (LINES * BLOCK)
        lines = [tl.load(line_ptr + j * BLOCK) for j in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)[:LINES]]
        w_scale = tl.load(w_scales_ptr + g[:, None] * BLOCK).to(tl.float32)
        if w_offsets_ptr is not None:
            w_offset = tl.load(w_offsets_ptr + g[:, None] * BLOCK).to(tl.float32)
        wait(OVERLAP)
        x_scales = [tl.load(x_scales_ptr + token * GROUPS + g, mask=inside, other=0.0) for token in tokens]
        if BITS == 4 or w_offsets_ptr is not None:
            x_sums = [tl.load(x_sums_ptr + token * GROUPS + g) for token in tokens]
        if BITS == 4:
            dots = [tl.broadcast_to((x_sum * -8)[:, None], [SPAN, ROWS]) for x_sum in x_sums]
        else:
            dots = [tl.zeros([SPAN, ROWS], tl.int32) for token in tokens]
        x_ptrs = [x_ptr + token * (GROUPS * GROUP + PAD) + g * GROUP for token in tokens]
        tl.debug_barrier()
        for i in tl.static_range(GROUP // 8):
            left, right = eight_columns(lines, i, BITS)
            columns = [tl.load(ptr.to(tl.pointer_type(tl.int64)) + i)[:, None] for ptr in x_ptrs]
            dots = [dot4(left, columns[t].to(tl.int32), dots[t], ASM) for t in (0, 1, 2, 3)[:TOKENS]]
            dots = [dot4(right, (columns[t] >> 32).to(tl.int32), dots[t], ASM) for t in (0, 1, 2, 3)[:TOKENS]]
        results = [
            results[t] + dots[t].to(tl.float32) * (w_scale * x_scales[t][:, None]) for t in (0, 1, 2, 3)[:TOKENS]
        ]
        if w_offsets_ptr is not None:
            x_sums = [(x_scales[t] * x_sums[t].to(tl.float32))[:, None] for t in (0, 1, 2, 3)[:TOKENS]]
            results = [results[t] + w_offset * x_sums[t] for t in (0, 1, 2, 3)[:TOKENS]]
    return [tl.sum(result, 0) for result in results]


@triton.jit
def eight_columns(lines, i: tl.constexpr, BITS: tl.constexpr):
    """Columns 8i to 8i + 3 and 8i + 4 to 8i + 7 of a group, as words of four signed bytes."""
    if BITS == 4:
        return lines[i] & NIBBLES, (lines[i] >> 4) & NIBBLES
    else:
        return lines[2 * i] ^ ZEROS, lines[2 * i + 1] ^ ZEROS
