"""Products of so many tokens that unpacking the weight for all of them at once pays: bf16 on torch's matrix products.

    strip  =  scale * (code - zero) + offset  of some rows, [rows, K] bf16
    y[:, rows of the strip]  =  x strip^T,  x = scale * code, [T, K] bf16

A strip is bounded in bytes, so that what this takes does not grow with the model. Bytes bound both kernels: a thread
loads 16 bytes of a weight, 32 codes of 4 bits in four rows, and stores 16 bytes of each row at a time.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor, bfloat16, mm

from llmrt_kernels.expansion import STRIP_BYTES
from llmrt_kernels.packed import Codes, Matrix, Weight
from llmrt_kernels.triton.codes import PAD, TILE
from llmrt_kernels.triton.integers import cdiv, next_power_of_2
from llmrt_kernels.triton.product_dot4 import BLOCK
from llmrt_kernels.triton.product_mma import signed_bytes
from llmrt_kernels.triton.target import target_of
from llmrt_kernels.triton.variant import Variant

COLUMNS = 256  # of a block of rows that one program expands
ROWS = 128  # strips but the last have a multiple of it, which torch's tiles divide


def expanded_product(x: Codes, weight: Weight) -> Tensor:
    """x [T, K] -> x W^T, without the bias, [T, N] bf16."""
    values = expanded_codes(x)
    y = values.new_empty(x.num_tokens, weight.rows)
    height = strip_rows(weight.rows, x.columns)
    strip = values.new_empty(height, x.columns)
    for first in range(0, weight.rows, height):
        rows = min(height, weight.rows - first)
        expand_rows(weight, first, rows, strip)
        mm(values, strip[:rows].T, out=y[:, first : first + rows])
    return y


def strip_rows(rows: int, columns: int) -> int:
    """Rows of a strip, so that all are about as high."""
    most = max(STRIP_BYTES // (2 * columns * ROWS), 1)
    return ROWS * cdiv(rows, cdiv(rows, most * ROWS) * ROWS)


def expanded_codes(x: Codes) -> Tensor:
    """What activations stand for, [T, K] bf16."""
    groups = x.scales.shape[1]
    y = x.codes.new_empty(x.num_tokens, x.columns, dtype=bfloat16)
    span = min(next_power_of_2(groups), TILE // x.group)
    expand_codes_kernel[(x.num_tokens, cdiv(groups, span))](
        x.codes, x.scales, y, GROUPS=groups, GROUP=x.group, SPAN=span
    )
    return y


def expand_rows(weight: Weight, first: int, rows: int, strip: Tensor) -> None:
    """Write ``rows`` rows from row ``first`` on, a multiple of 16, to ``strip`` [.., K], padded to whole blocks."""
    row = 0
    for piece in weight.pieces:
        begin, end = max(first, row), min(first + rows, row + piece.rows)
        if begin < end:
            blocks = cdiv(end - begin, BLOCK.value)
            _expand(piece, weight.group, (begin - row) // BLOCK.value, blocks, strip[begin - first :])
        row += piece.rows


def _expand(matrix: Matrix, group: int, first_block: int, blocks: int, out: Tensor) -> None:
    assert matrix.scales is not None
    groups = matrix.scales.shape[1]
    expand_rows_kernel[(blocks, cdiv(groups * group, COLUMNS))](
        *matrix.tensors,
        out,
        first_block,
        GROUPS=groups,
        GROUP=group,
        BITS=matrix.bits,
        SPAN=COLUMNS // group,
        ASM=target_of(out.device).asm,
    )


@triton.jit(do_not_specialize=["first_block"])
def expand_rows_kernel(
    w_ptr,
    w_scales_ptr,
    w_offsets_ptr,
    out_ptr,
    first_block,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
    BITS: tl.constexpr,
    SPAN: tl.constexpr,
    ASM: tl.constexpr,
):
    """A program expands SPAN groups of columns of a block of 16 rows."""
    LINES: tl.constexpr = GROUP * BITS // 32
    row = tl.arange(0, BLOCK)[:, None]
    block = (first_block + tl.program_id(0)).to(tl.int64) * GROUPS
    g = tl.program_id(1) * SPAN + tl.arange(0, SPAN)[None, :]
    line = tl.program_id(1) * (SPAN * LINES) + tl.arange(0, SPAN * LINES)[None, :]
    k = tl.program_id(1) * (SPAN * GROUP) + tl.arange(0, SPAN * GROUP)[None, :]
    w_ptr = w_ptr.to(tl.pointer_type(tl.int32)) + block * (LINES * BLOCK)
    words = tl.load(w_ptr + line * BLOCK + row, mask=line < GROUPS * LINES, other=0)
    at = (block + g) * BLOCK + row
    scales = tl.load(w_scales_ptr + at, mask=g < GROUPS, other=0.0).to(tl.float32)
    scales *= 0.0625 if BITS == 4 else 1.0
    values = tl.reshape(signed_bytes(words, BITS, ASM).to(tl.float32), [BLOCK, SPAN, GROUP]) * scales[:, :, None]
    if w_offsets_ptr is not None:
        values += tl.load(w_offsets_ptr + at, mask=g < GROUPS, other=0.0).to(tl.float32)[:, :, None]
    values = tl.reshape(values, [BLOCK, SPAN * GROUP]).to(out_ptr.dtype.element_ty)
    out_ptr += (tl.program_id(0).to(tl.int64) * BLOCK + row) * (GROUPS * GROUP)
    tl.store(out_ptr + k, values, mask=k < GROUPS * GROUP)


@triton.jit
def expand_codes_kernel(x_ptr, x_scales_ptr, out_ptr, GROUPS: tl.constexpr, GROUP: tl.constexpr, SPAN: tl.constexpr):
    """A program expands SPAN groups of a token."""
    t = tl.program_id(0).to(tl.int64)
    g = tl.program_id(1) * SPAN + tl.arange(0, SPAN)
    k = g[:, None] * GROUP + tl.arange(0, GROUP)[None, :]
    inside = (g < GROUPS)[:, None]
    codes = tl.load(x_ptr + t * (GROUPS * GROUP + PAD) + k, mask=inside, other=0).to(tl.float32)
    values = codes * tl.load(x_scales_ptr + t * GROUPS + g, mask=g < GROUPS, other=0.0)[:, None]
    tl.store(out_ptr + t * (GROUPS * GROUP) + k, values.to(out_ptr.dtype.element_ty), mask=inside)


VARIANTS = (
    Variant(
        "expand_rows-int4-offsets",
        expand_rows_kernel,
        {"w_ptr": "*u8", "w_scales_ptr": "*fp16", "w_offsets_ptr": "*fp16", "out_ptr": "*bf16", "first_block": "i32"},
        {"GROUPS": 64, "GROUP": 64, "BITS": 4, "SPAN": COLUMNS // 64},
    ),
)
