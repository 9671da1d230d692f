"""Activations, gates and caps against their formulas in float64, over the whole range of exp."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from llmrt_kernels.triton.activation import gated_activation
from llmrt_kernels.triton.scale import scale

TOLERANCE = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 8e-3}
EDGES = torch.tensor([0.0, -0.0, 87.0, -87.0, 200.0, -200.0, 1e-8, -1e-8])


def formula(x: Tensor, name: str) -> Tensor:
    """Of x in float64."""
    match name:
        case "silu":
            return x * x.sigmoid()
        case "relu":
            return x.clamp(min=0)
        case "gelu":
            return x * (1 + torch.erf(x / math.sqrt(2))) / 2
        case _:
            return x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


@pytest.mark.parametrize(
    ("name", "tokens", "size", "dtype"),
    [
        ("silu", 1, 16, torch.float32),
        ("silu", 3, 49, torch.bfloat16),
        ("relu", 3, 49, torch.float16),
        ("gelu", 2, 1536, torch.float32),
        ("gelu", 1, 16, torch.float16),
        ("gelu_tanh", 3, 49, torch.float32),
        ("gelu_tanh", 2, 1536, torch.bfloat16),
    ],
)
def test_gates_equal_the_formula(name: str, tokens: int, size: int, dtype: torch.dtype, device: str) -> None:
    generator = torch.Generator().manual_seed(size)
    gate = torch.randn(tokens, size, generator=generator) * 10
    gate[0, :8] = EDGES
    gate_up = torch.cat((gate, torch.randn(tokens, size, generator=generator)), 1).to(dtype)
    wide, up = gate_up.double().chunk(2, 1)
    y = gated_activation(gate_up.to(device), name)
    assert y.dtype == dtype
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(y.cpu().double(), formula(wide, name) * up, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(("factor", "cap", "dtype"), [(12.0, 0.0, torch.bfloat16), (0.5, 30.0, torch.float32)])
def test_numbers_are_scaled_and_capped(factor: float, cap: float, dtype: torch.dtype, device: str) -> None:
    x = (torch.randn(3, 1100, generator=torch.Generator().manual_seed(0)) * 60).to(dtype)
    x[0, :8] = EDGES
    scaled = x.double() * factor
    expected = cap * (scaled / cap).tanh() if cap else scaled
    y = scale(x.to(device), factor, cap)
    assert y.dtype == dtype
    torch.testing.assert_close(y.cpu().double(), expected, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])
