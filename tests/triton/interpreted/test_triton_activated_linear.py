"""The first halves of MLPs with packed weights against float64."""

from __future__ import annotations

import pytest
import torch

from llmrt_kernels.packed import Codes
from llmrt_kernels.triton.activated_linear import activated_linear, gated_linear
from tests.kernels.operands import relative
from tests.kernels.packing import meant, random_weight
from tests.triton.interpreted.test_triton_activation import formula
from tests.triton.interpreted.test_triton_linear import random_codes, weight_on


@pytest.mark.parametrize(
    ("tokens", "size", "columns", "group", "bits", "bias", "name"),
    [
        (1, 64, 64, 64, 4, False, "silu"),
        (1, 48, 576, 32, 8, True, "gelu"),
        (3, 224, 160, 64, 4, True, "gelu_tanh"),
        (4, 80, 208, 64, 8, False, "silu"),
        (5, 80, 208, 32, 4, True, "silu"),
        (17, 144, 320, 64, 8, False, "gelu_tanh"),
        (70, 64, 96, 32, 4, False, "gelu"),
    ],
)
def test_gated_linear_equals_the_formula(
    tokens: int, size: int, columns: int, group: int, bits: int, bias: bool, name: str, device: str
) -> None:
    weight, dense = random_weight((2 * size,), columns, (bits,), group, bias=bias, affine=bias)
    product = meant(small_codes(tokens, columns, group, "cpu"), columns) @ dense.T
    product += 0 if weight.bias is None else weight.bias
    parts = [part.chunk(2, dim=1) for part in product.split(2 * group, dim=1)]
    gate, up = (torch.cat(half, dim=1) for half in zip(*parts, strict=True))
    check(
        gated_linear(small_codes(tokens, columns, group, device), weight_on(weight, device), name),
        formula(gate, name) * up,
    )


@pytest.mark.parametrize(
    ("tokens", "size", "columns", "group", "bits", "bias", "name"),
    [
        (1, 160, 96, 64, 4, True, "gelu"),
        (2, 48, 208, 32, 8, False, "relu"),
        (4, 128, 64, 64, 8, True, "gelu_tanh"),
        (5, 80, 160, 64, 4, False, "gelu"),
        (70, 208, 96, 32, 8, True, "gelu_tanh"),
    ],
)
def test_activated_linear_equals_the_formula(
    tokens: int, size: int, columns: int, group: int, bits: int, bias: bool, name: str, device: str
) -> None:
    weight, dense = random_weight((size,), columns, (bits,), group, bias=bias, affine=bits == 8)
    product = meant(small_codes(tokens, columns, group, "cpu"), columns) @ dense.T
    product += 0 if weight.bias is None else weight.bias
    check(
        activated_linear(small_codes(tokens, columns, group, device), weight_on(weight, device), name),
        formula(product, name),
    )


def small_codes(tokens: int, columns: int, group: int, device: str) -> Codes:
    """The same on every device, and so small that an activation bends what is made of them."""
    x = random_codes(tokens, columns, group, device)
    x.scales.mul_(0.01)
    return x


def check(y: Codes, expected: torch.Tensor) -> None:
    """Codes to half a step, scales by the largest of a group, zeros behind the last value."""
    size, group = expected.shape[1], y.group
    actual = meant(Codes(y.codes.cpu(), y.scales.cpu(), y.sums.cpu(), y.group), size)
    padded = torch.nn.functional.pad(expected, (0, -size % group)).unflatten(1, (-1, group))
    torch.testing.assert_close(y.scales.cpu().double(), padded.abs().amax(-1) / 127, rtol=2e-5, atol=1e-12)
    step = y.scales.cpu().double().repeat_interleave(group, 1)[:, :size]
    assert ((actual - expected).abs() <= 0.51 * step).all()
    assert (y.codes[:, size : y.columns] == 0).all()
    assert relative(actual, expected) < 2e-2
