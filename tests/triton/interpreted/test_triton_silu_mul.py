"""The gate against its formula in float64, over the whole range of exp."""

from __future__ import annotations

import pytest
import torch

from llmrt_kernels.triton.silu_mul import silu_mul


@pytest.mark.parametrize(("tokens", "size"), [(1, 16), (3, 49), (2, 1536)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 1e-3), (torch.bfloat16, 8e-3)])
def test_equals_the_formula(tokens: int, size: int, dtype: torch.dtype, tolerance: float, device: str) -> None:
    generator = torch.Generator().manual_seed(size)
    gate = torch.randn(tokens, size, generator=generator) * 10
    gate[0, :8] = torch.tensor([0.0, -0.0, 87.0, -87.0, 200.0, -200.0, 1e-8, -1e-8])
    gate_up = torch.cat((gate, torch.randn(tokens, size, generator=generator)), 1).to(dtype)
    wide, up = gate_up.double().chunk(2, 1)
    y = silu_mul(gate_up.to(device))
    assert y.dtype == dtype
    torch.testing.assert_close(y.cpu().double(), wide * wide.sigmoid() * up, atol=tolerance, rtol=tolerance)
