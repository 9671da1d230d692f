"""Rows of a packed table against the matrix that it was packed from."""

from __future__ import annotations

import pytest
import torch

from llmrt_kernels.packed import Weight
from llmrt_kernels.triton.embedding_packed import embedding_packed
from tests.kernels.packing import random_matrix
from tests.triton.interpreted.test_triton_linear import matrix_on


@pytest.mark.parametrize(("rows", "size", "group"), [(16, 32, 32), (37, 80, 32), (50, 1100, 64)])
@pytest.mark.parametrize(("bits", "affine"), [(8, False), (8, True), (4, False), (4, True)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equals_the_unpacked_rows(
    rows: int, size: int, group: int, bits: int, affine: bool, dtype: torch.dtype, device: str
) -> None:
    matrix, dense = random_matrix(rows, size, bits, group, affine=affine)
    tokens = torch.tensor([0, rows - 1, 5, 5, 15])
    out = embedding_packed(tokens.to(device), Weight((matrix_on(matrix, device),), group), size, dtype)
    assert out.dtype == dtype
    tolerance = 2**-7 if dtype == torch.bfloat16 else 1e-6  # the interpreter cuts bf16 off
    torch.testing.assert_close(out.cpu().double(), dense[tokens], rtol=tolerance, atol=1e-5)
