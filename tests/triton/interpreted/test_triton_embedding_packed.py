"""Rows of a packed table against the matrix that it was packed from."""

from __future__ import annotations

import pytest
import torch

from llmrt_kernels.packed import Matrix, Weight
from llmrt_kernels.reference.linear_packed import dequantize
from llmrt_kernels.reference.quantize import quantize
from llmrt_kernels.triton.embedding_packed import embedding_packed


@pytest.mark.parametrize(("rows", "size", "group"), [(16, 32, 32), (37, 80, 32), (50, 1100, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equals_the_unpacked_rows(rows: int, size: int, group: int, dtype: torch.dtype, device: str) -> None:
    generator = torch.Generator().manual_seed(rows)
    data, scales = quantize(torch.randn(rows, size, generator=generator), bits=8, group=group)
    tokens = torch.tensor([0, rows - 1, 5, 5, 15])
    table = Weight((Matrix(data.to(device), scales.to(device), 8, rows),), group)
    out = embedding_packed(tokens.to(device), table, size, dtype)
    expected = dequantize(Matrix(data, scales, 8, rows), group)[tokens, :size]
    assert out.dtype == dtype
    tolerance = 2**-7 if dtype == torch.bfloat16 else 0  # the interpreter cuts bf16 off
    torch.testing.assert_close(out.cpu().float(), expected, rtol=tolerance, atol=0)
