"""The gate against its formula in float64, over the whole range of exp."""

from __future__ import annotations

import pytest
import torch

from llmrt_kernels.reference.activation import gated_activation


@pytest.mark.parametrize(("tokens", "size"), [(1, 16), (3, 48), (7, 1536)])
def test_silu_equals_the_formula(tokens: int, size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    gate = torch.randn(tokens, size, generator=generator) * 10
    gate[0, :8] = torch.tensor([0.0, -0.0, 87.0, -87.0, 200.0, -200.0, 1e-8, -1e-8])
    up = torch.randn(tokens, size, generator=generator)
    expected = gate.double() * gate.double().sigmoid() * up.double()
    out = gated_activation(torch.cat((gate, up), dim=1), "silu")
    torch.testing.assert_close(out.double(), expected, atol=1e-6, rtol=1e-5)
