"""The first half of SwiGLU with packed weights against float64."""

from __future__ import annotations

import pytest
import torch

from llmrt_kernels.triton.gated_linear import gated_linear
from tests.kernels.packing import meant, random_weight
from tests.triton.interpreted.test_triton_linear import random_codes, relative, weight_on


@pytest.mark.parametrize(
    ("tokens", "size", "columns", "group", "bits", "bias"),
    [
        (1, 64, 64, 64, 4, False),
        (1, 48, 576, 32, 8, True),
        (3, 224, 160, 64, 4, True),
        (4, 80, 208, 64, 8, False),
        (5, 80, 208, 32, 4, True),
        (17, 144, 320, 64, 8, False),
        (70, 64, 96, 32, 4, False),
    ],
)
def test_gated_linear_equals_the_formula(
    tokens: int, size: int, columns: int, group: int, bits: int, bias: bool, device: str
) -> None:
    weight, dense = random_weight((2 * size,), columns, (bits,), group, bias=bias, affine=bias)
    x = random_codes(tokens, columns, group, "cpu")
    x.scales.mul_(0.01)
    product = meant(x, columns) @ dense.T + (0 if weight.bias is None else weight.bias)
    parts = [part.chunk(2, dim=1) for part in product.split(2 * group, dim=1)]
    gate, up = (torch.cat(half, dim=1) for half in zip(*parts, strict=True))
    expected = gate * gate.sigmoid() * up
    on_device = random_codes(tokens, columns, group, device)
    on_device.scales.mul_(0.01)
    y = gated_linear(on_device, weight_on(weight, device))
    actual = meant(type(y)(y.codes.cpu(), y.scales.cpu(), y.sums.cpu(), y.group), size)
    padded = torch.nn.functional.pad(expected, (0, -size % group)).unflatten(1, (-1, group))
    torch.testing.assert_close(y.scales.cpu().double(), padded.abs().amax(-1) / 127, rtol=2e-5, atol=1e-12)
    step = y.scales.cpu().double().repeat_interleave(group, 1)[:, :size]
    assert ((actual - expected).abs() <= 0.51 * step).all()
    assert (y.codes[:, size : y.columns] == 0).all()
    assert relative(actual, expected) < 2e-2
