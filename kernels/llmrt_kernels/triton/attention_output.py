"""Where the heads that a program is done with go: rows of a tensor, or of int8 activations."""

from __future__ import annotations

import triton
import triton.language as tl

from llmrt_kernels.triton.codes import PAD, to_codes


@triton.jit
def store_heads(
    x, token, head, valid, heads, out_ptr, scales_ptr, sums_ptr, DIM: tl.constexpr, CODE_GROUP: tl.constexpr
):
    """Write x [R, DIM_PADDED] fp32 to the heads ``head`` [R] of the tokens ``token`` [R] int64, where ``valid`` [R].

    out [T, heads * DIM] of any float type; with CODE_GROUP, which divides DIM, the parts of a ``Codes``.
    """
    if CODE_GROUP == 0:
        d = tl.arange(0, x.shape[1])
        at = (token * heads + head)[:, None] * DIM + d[None, :]
        tl.store(out_ptr + at, x.to(out_ptr.dtype.element_ty), mask=valid[:, None] & (d < DIM)[None, :])
    else:
        ROWS: tl.constexpr = x.shape[0] * x.shape[1] // CODE_GROUP
        codes, scales = to_codes(tl.reshape(x, [ROWS, CODE_GROUP]))
        g = tl.arange(0, x.shape[1] // CODE_GROUP)[None, :]
        inside = tl.reshape(valid[:, None] & (g < DIM // CODE_GROUP), [ROWS])
        row = token[:, None] * (heads * DIM + PAD) + head[:, None] * DIM + g * CODE_GROUP
        at = tl.reshape(row, [ROWS])[:, None] + tl.arange(0, CODE_GROUP)[None, :]
        tl.store(out_ptr + at, codes.to(tl.int8), mask=inside[:, None])
        group = tl.reshape((token * heads + head)[:, None] * (DIM // CODE_GROUP) + g, [ROWS])
        tl.store(scales_ptr + group, scales, mask=inside)
        tl.store(sums_ptr + group, tl.sum(codes, 1), mask=inside)
