"""x W^T for many tokens, by the matrix units' products of signed bytes.

y[t, n] = sum over groups g of  sx[t, g] sw[n, g] (sum over k in g of x8[t, k] (code[n, k] - zero))

and for weights with offsets  + sx[t, g] offset[n, g] sum8[t, g].
A tile of BN rows and BM tokens walks through the columns group by group: the products of a group are exact int32, which
are scaled and added to fp32 sums. Weights become signed bytes with their zero taken off: of an int4 code in the upper
half of a byte,  16 (code - 8)  is the byte with its highest bit turned over, so both halves of a word of eight codes
are brought there, and results are divided by 16 at the end. SWAP makes rows, not tokens, the long side of the product:
the matrix units take 64 or 16 of that side at a time, and few tokens would leave them idle.
"""

from __future__ import annotations

import triton
import triton.language as tl

from llmrt_kernels.triton.codes import PAD
from llmrt_kernels.triton.product_dot4 import BLOCK, ZEROS

UPPER = tl.constexpr(-0x0F0F0F10)  # 0xF0F0F0F0
UNROLL = tl.constexpr(2)  # groups in one turn of the loop, see ``two_scales``


@triton.jit
def product_mma(
    x,
    token,
    w,
    block,
    row,
    begin,
    end,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
    BITS: tl.constexpr,
    SWAP: tl.constexpr,
    STAGES: tl.constexpr,
    ASM: tl.constexpr,
):
    """[BM, BN] fp32 of the groups from ``begin`` to ``end``, UNROLL at a time, of tokens ``token`` int64 [BM].

    ``x`` are the pointers of ``Codes``, ``w`` those of data, scales and offsets, None for none; ``block`` int64 [BN],
    ``row`` [BN] say where the rows of the weight are, runs of 16 in order.
    """
    x_ptr, x_scales_ptr, x_sums_ptr = x
    w_ptr, w_scales_ptr, w_offsets_ptr = w
    LINES: tl.constexpr = GROUP * BITS // 32
    WHOLE: tl.constexpr = GROUPS // UNROLL * UNROLL == GROUPS
    BM: tl.constexpr = token.shape[0]
    BN: tl.constexpr = row.shape[0]
    w_ptr = w_ptr.to(tl.pointer_type(tl.int32)) + (block * GROUPS * (LINES * BLOCK) + row)[:, None]
    w_ptr += tl.arange(0, LINES)[None, :] * BLOCK
    w_scales_ptr += block * GROUPS * BLOCK + row
    if w_offsets_ptr is not None:
        w_offsets_ptr += block * GROUPS * BLOCK + row
        x_sums_ptr += token * GROUPS
    x_ptr += (token * (GROUPS * GROUP + PAD))[:, None] + tl.arange(0, GROUP)[None, :]
    x_scales_ptr += token * GROUPS
    result = tl.zeros([BN, BM] if SWAP else [BM, BN], tl.float32)
    for first in tl.range(begin, end, UNROLL, num_stages=STAGES):
        w_scales = two_scales(w_scales_ptr, first, BLOCK, GROUPS, ASM)
        x_scales = two_scales(x_scales_ptr, first, 1, GROUPS, ASM)
        if w_offsets_ptr is not None:
            w_offsets = two_scales(w_offsets_ptr, first, BLOCK, GROUPS, ASM)
            x_sums = two_scales(x_sums_ptr, first, 1, GROUPS, ASM)
        for u in tl.static_range(UNROLL):
            g = tl.minimum(first + u, GROUPS - 1)
            x_scale = x_scales[u] if WHOLE else tl.where(first + u < GROUPS, x_scales[u], 0.0)
            codes = signed_bytes(tl.load(w_ptr + g * (LINES * BLOCK)), BITS, ASM)
            columns = tl.load(x_ptr + g * GROUP)
            if SWAP:
                dots = tl.dot(codes, tl.trans(columns), out_dtype=tl.int32)
                result += dots.to(tl.float32) * (w_scales[u][:, None] * x_scale[None, :])
            else:
                dots = tl.dot(columns, tl.trans(codes), out_dtype=tl.int32)
                result += dots.to(tl.float32) * (x_scale[:, None] * w_scales[u][None, :])
            if w_offsets_ptr is not None:
                x_sum = x_scale * x_sums[u] * (16.0 if BITS == 4 else 1.0)
                if SWAP:
                    result += w_offsets[u][:, None] * x_sum[None, :]
                else:
                    result += x_sum[:, None] * w_offsets[u][None, :]
    if SWAP:
        result = tl.trans(result)
    return result * (0.0625 if BITS == 4 else 1.0)


@triton.jit
def two_scales(ptr, g, STRIDE: tl.constexpr, GROUPS: tl.constexpr, ASM: tl.constexpr):
    """Scales, offsets or sums [n] of groups g and g + 1 as fp32; past the last group they are the last one's.

    Together they are enough for an asynchronous copy that no thread makes twice. On gfx11 the compiler cannot split
    such a pair in the layout of its products.
    """
    if ASM == "gfx11":
        left = tl.load(ptr + tl.minimum(g, GROUPS - 1) * STRIDE)
        right = tl.load(ptr + tl.minimum(g + 1, GROUPS - 1) * STRIDE)
    else:
        both = tl.minimum(g + tl.arange(0, 2), GROUPS - 1) * STRIDE
        left, right = tl.split(tl.load(ptr[:, None] + both[None, :]))
    return left.to(tl.float32), right.to(tl.float32)


@triton.jit
def signed_bytes(words, BITS: tl.constexpr, ASM: tl.constexpr):
    """Words [BN, L] of 8 (int4, results times 16) or 4 columns -> code - zero, int8 [BN, 8 L or 4 L]."""
    BN: tl.constexpr = words.shape[0]
    COLUMNS: tl.constexpr = words.shape[1] * 32 // BITS
    halves = tl.join(upper_halves(words << 4, ASM), upper_halves(words, ASM)) if BITS == 4 else words ^ ZEROS
    pairs = tl.join(tl.join(byte(halves, 0), byte(halves, 2)), tl.join(byte(halves, 1), byte(halves, 3)))
    return tl.reshape(pairs, [BN, COLUMNS])


@triton.jit
def upper_halves(word, ASM: tl.constexpr):
    """16 (code - 8) of the codes in the upper halves of a word's bytes.

    Where the compiler sees through this, it moves the shifts by which ``byte`` takes the result apart in front of it,
    and then no longer notices that the four bytes are a word.
    """
    if ASM == "cuda":
        return tl.inline_asm_elementwise(
            "lop3.b32 $0, $1, 0xF0F0F0F0, 0x80808080, 0x6A;", "=r,r", [word], dtype=tl.int32, is_pure=True, pack=1
        )
    else:
        return (word & UPPER) ^ ZEROS


@triton.jit
def byte(word, i: tl.constexpr):
    """Byte i of a word."""
    return (word >> (8 * i)).to(tl.int8)
