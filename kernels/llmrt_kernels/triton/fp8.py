"""Numbers of eight bits with four of exponent, e4m3 (https://arxiv.org/abs/2209.05433), in integer operations.

    s eeee mmm   (-1)^s 2^(e-7) 1.mmm, for e = 0 (-1)^s 2^-6 0.mmm; up to 448

So every device has them, with the same bytes, whether it has instructions for them or for another form of them.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.triton.codes import nearest

Pages = tuple[Tensor, Tensor, Tensor | None, Tensor | None]


def pages_of(kv: LayerKVCache) -> Pages:
    """A cache as kernels take it: keys, values and their scales. One of fp8 is uint8, by which they know it."""
    as_bytes = kv.k.dtype == torch.float8_e4m3fn
    k, v = (pages.view(torch.uint8) if as_bytes else pages for pages in (kv.k, kv.v))
    return k, v, kv.k_scales, kv.v_scales


@triton.jit
def to_fp8(x):
    """The nearest to x fp32, |x| at most a rounding error above 448, as int32; halves to the even."""
    bits = x.to(tl.int32, bitcast=True)
    magnitude = bits & 0x7FFFFFFF
    normal = ((magnitude + 0x7FFFF + ((magnitude >> 20) & 1)) >> 20) - ((127 - 7) << 3)
    small = nearest(tl.abs(x) * 512.0)  # in units of the least
    return tl.where(tl.abs(x) < 0.015625, small, normal) | ((bits >> 24) & 0x80)


@triton.jit
def halves_of_fp8(x, scales, ASM: tl.constexpr):
    """x uint8 times ``scales`` fp16 / 256, in fp16.

    Its exponent and mantissa one place lower are those of a half, with another bias: that of x / 256.
    """
    if ASM == "cuda":
        return tl.inline_asm_elementwise(
            """{
            .reg .b32 left, right, a, b;
            prmt.b32 left, $2, 0, 0x1404;
            prmt.b32 right, $2, 0, 0x3424;
            shr.u32 a, left, 1;
            shr.u32 b, right, 1;
            and.b32 a, a, 0x3f803f80;
            and.b32 b, b, 0x3f803f80;
            lop3.b32 $0, left, 0x80008000, a, 0xEA;
            lop3.b32 $1, right, 0x80008000, b, 0xEA;
            mul.f16x2 $0, $0, $3;
            mul.f16x2 $1, $1, $4;
            }""",
            "=&r,=&r,r,r,r",
            [x, scales],
            dtype=tl.float16,
            is_pure=False,
            pack=4,
        )
    else:
        word = x.to(tl.int16)
        half = (((word & 0x80) << 8) | ((word & 0x7F) << 7)).to(tl.float16, bitcast=True) * scales
        if ASM == "gfx11":
            half = tl.inline_asm_elementwise("v_mov_b32 $0, $1", "=v,v", [half], tl.float16, is_pure=False, pack=2)
        return half
