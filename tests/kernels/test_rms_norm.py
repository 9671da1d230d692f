"""RMSNorm against its formula in float64."""

from __future__ import annotations

import pytest
import torch

from llmrt_kernels.reference.rms_norm import add_rms_norm


@pytest.mark.parametrize(("rows", "size"), [(1, 1), (3, 7), (2, 576), (5, 4096)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_equals_the_formula(rows: int, size: int, dtype: torch.dtype, tolerance: float) -> None:
    generator = torch.Generator().manual_seed(size)
    x, residual = (torch.randn(rows, size, generator=generator).to(dtype) * 30 for _ in range(2))
    weight = torch.randn(size, generator=generator).to(dtype)
    normed, total = add_rms_norm(x, residual, weight, 1e-5)
    assert torch.equal(total, x + residual)
    wide = total.double()
    expected = wide / (wide.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight.double()
    torch.testing.assert_close(normed.double(), expected, rtol=tolerance, atol=tolerance)


def test_the_stream_starts_with_the_first_input() -> None:
    x = torch.randn(2, 8)
    _, total = add_rms_norm(x, None, torch.ones(8), 1e-5)
    assert torch.equal(total, x)
