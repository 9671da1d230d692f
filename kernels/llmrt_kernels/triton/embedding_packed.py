"""Rows of an int8 table that is packed for the matrix product: 4 values of a row in each line of 64 bytes."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.packed import Weight
from llmrt_kernels.triton.variant import Variant

BLOCK = 1024  # values that one program unpacks


def embedding_packed(token_ids: Tensor, table: Weight, hidden_size: int, dtype: torch.dtype) -> Tensor:
    """Rows of an int8 table of one piece. token_ids [T] int64 -> [T, hidden_size] of ``dtype``."""
    (matrix,) = table.pieces
    assert matrix.bits == 8 and matrix.scales is not None
    tokens = token_ids.shape[0]
    out = torch.empty(tokens, hidden_size, dtype=dtype, device=token_ids.device)
    embedding_packed_kernel[(tokens, triton.cdiv(hidden_size, BLOCK))](
        token_ids,
        matrix.data,
        matrix.scales,
        out,
        SIZE=hidden_size,
        GROUPS=matrix.scales.shape[1],
        GROUP=table.group,
        BLOCK=BLOCK,
    )
    return out


@triton.jit
def embedding_packed_kernel(
    token_ids_ptr,
    data_ptr,
    scales_ptr,
    out_ptr,
    SIZE: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A program unpacks BLOCK values of a token's row."""
    t = tl.program_id(0).to(tl.int64)
    k = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = k < SIZE
    token = tl.load(token_ids_ptr + t)
    block, row = token // 16, token % 16
    codes = tl.load(data_ptr + block * (16 * GROUPS * GROUP) + k // 4 * 64 + 4 * row + k % 4, mask=inside, other=128)
    scales = tl.load(scales_ptr + (block * GROUPS + k // GROUP) * 16 + row, mask=inside, other=0.0)
    values = (codes.to(tl.float32) - 128) * scales.to(tl.float32)
    tl.store(out_ptr + t * SIZE + k, values.to(out_ptr.dtype.element_ty), mask=inside)


VARIANTS = (
    Variant(
        "embedding_packed-bf16",
        embedding_packed_kernel,
        {"token_ids_ptr": "*i64", "data_ptr": "*u8", "scales_ptr": "*fp16", "out_ptr": "*bf16"},
        {"SIZE": 4096, "GROUPS": 64, "GROUP": 64, "BLOCK": BLOCK},
    ),
)
