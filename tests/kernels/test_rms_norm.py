"""RMSNorm against its formula in float64."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch


@pytest.mark.parametrize(("rows", "size"), [(1, 16), (3, 7), (2, 576), (5, 4096)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_equals_the_formula(ops: SimpleNamespace, rows: int, size: int, dtype: torch.dtype, tolerance: float) -> None:
    if ops.name == "cpu" and (size % 16 or dtype != torch.float32):
        size, dtype, tolerance = size // 16 * 16 + 16, torch.float32, 1e-5
    generator = torch.Generator().manual_seed(size)
    x, residual = (torch.randn(rows, size, generator=generator).to(dtype) * 30 for _ in range(2))
    weight = torch.randn(size, generator=generator).to(dtype)
    normed, total = ops.add_rms_norm(x, residual, weight, 1e-5)
    assert torch.equal(total, x + residual)
    wide = total.double()
    expected = wide / (wide.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight.double()
    torch.testing.assert_close(normed.double(), expected, rtol=tolerance, atol=tolerance)


def test_the_stream_starts_with_the_first_input(ops: SimpleNamespace) -> None:
    x = torch.randn(2, 32)
    _, total = ops.add_rms_norm(x, None, torch.ones(32), 1e-5)
    assert torch.equal(total, x)
