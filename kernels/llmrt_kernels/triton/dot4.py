"""Four products of signed bytes and their sum, the instruction that decoding with packed weights is made of.

dot4(a, b, c) = c + sum over the four bytes i of a_i b_i, all int32

An int4 code (0..15) is a signed byte as it is; an int8 code (0..255, its zero 128) becomes one by ``code ^ 0x80``,
which takes the zero off as well.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def dot4(a, b, c, ASM: tl.constexpr):
    """c + a . b; a, b and c are int32 of shapes that broadcast, ``a`` and ``b`` four signed bytes each."""
    if ASM == "cuda":
        return tl.inline_asm_elementwise(
            "dp4a.s32.s32 $0, $1, $2, $3;", "=r,r,r,r", [a, b, c], dtype=tl.int32, is_pure=True, pack=1
        )
    elif ASM == "gfx11":  # neg_lo: which of the operands are signed
        return tl.inline_asm_elementwise(
            "v_dot4_i32_iu8 $0, $1, $2, $3 neg_lo:[1,1,0]",
            "=v,v,v,v",
            [a, b, c],
            dtype=tl.int32,
            is_pure=True,
            pack=1,
        )
    elif ASM == "gfx9":
        return tl.inline_asm_elementwise(
            "v_dot4_i32_i8 $0, $1, $2, $3", "=v,v,v,v", [a, b, c], dtype=tl.int32, is_pure=True, pack=1
        )
    else:
        for i in tl.static_range(4):
            c += ((a << (24 - 8 * i)) >> 24) * ((b << (24 - 8 * i)) >> 24)
        return c
