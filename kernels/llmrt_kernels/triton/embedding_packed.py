"""Rows of a table that is packed for products: a line of 64 bytes has 4 (int8) or 8 (int4) values of a row."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.packed import Weight
from llmrt_kernels.triton.integers import cdiv

BLOCK = 1024  # values that one program unpacks


def embedding_packed(token_ids: Tensor, table: Weight, hidden_size: int, dtype: torch.dtype) -> Tensor:
    """Rows of a table of one piece. token_ids [T] int64 -> [T, hidden_size] of ``dtype``."""
    (matrix,) = table.pieces
    assert matrix.scales is not None
    tokens = token_ids.shape[0]
    out = torch.empty(tokens, hidden_size, dtype=dtype, device=token_ids.device)
    embedding_packed_kernel[(tokens, cdiv(hidden_size, BLOCK))](
        token_ids,
        *matrix.tensors,
        out,
        SIZE=hidden_size,
        GROUPS=matrix.scales.shape[1],
        GROUP=table.group,
        BITS=matrix.bits,
        BLOCK=BLOCK,
    )
    return out


@triton.jit
def embedding_packed_kernel(
    token_ids_ptr,
    data_ptr,
    scales_ptr,
    offsets_ptr,
    out_ptr,
    SIZE: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
    BITS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A program unpacks BLOCK values of a token's row."""
    t = tl.program_id(0).to(tl.int64)
    k = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = k < SIZE
    token = tl.load(token_ids_ptr + t)
    block, row = token // 16, token % 16
    COLUMNS: tl.constexpr = 32 // BITS  # of a line
    line_ptr = data_ptr + block * (2 * BITS * GROUPS * GROUP) + k // COLUMNS * 64
    codes = tl.load(line_ptr + 4 * row + k % 4, mask=inside, other=0)
    if BITS == 4:
        codes = tl.where(k % 8 < 4, codes & 15, codes >> 4)
    at = (block * GROUPS + k // GROUP) * 16 + row
    scales = tl.load(scales_ptr + at, mask=inside, other=0.0)
    values = (codes.to(tl.float32) - (1 << (BITS - 1))) * scales.to(tl.float32)
    if offsets_ptr is not None:
        values += tl.load(offsets_ptr + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(out_ptr + t * SIZE + k, values.to(out_ptr.dtype.element_ty), mask=inside)
