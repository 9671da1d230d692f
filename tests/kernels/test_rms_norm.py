"""The reference RMSNorm against its formula in float64."""

from __future__ import annotations

import pytest
import torch

from llmrt_kernels.reference.rms_norm import rms_norm


@pytest.mark.parametrize(("rows", "size"), [(1, 16), (3, 7), (2, 576), (5, 4096)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_equals_the_formula(rows: int, size: int, dtype: torch.dtype, tolerance: float) -> None:
    generator = torch.Generator().manual_seed(size)
    x = torch.randn(rows, size, generator=generator).to(dtype) * 30
    weight = torch.randn(size, generator=generator).to(dtype)
    wide = x.double()
    expected = wide / (wide.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight.double()
    torch.testing.assert_close(rms_norm(x, weight, 1e-5).double(), expected, rtol=tolerance, atol=tolerance)
