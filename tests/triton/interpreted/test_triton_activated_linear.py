"""The first halves of MLPs with packed weights against float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from llmrt_kernels.packed import Codes, Weight
from llmrt_kernels.triton.activated_linear import activated_linear, gated_linear
from tests.kernels.operands import draw, relative
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
    x = small_codes(tokens, columns, group, device)
    expected = gated_formula(tokens, columns, weight, dense, name, 0)
    check(gated_linear(x, weight_on(weight, device), name), expected)


def gated_formula(tokens: int, columns: int, weight: Weight, dense: Tensor, name: str, delta: Tensor | int) -> Tensor:
    product = meant(small_codes(tokens, columns, weight.group, "cpu"), columns) @ dense.T
    product += 0 if weight.bias is None else weight.bias
    parts = [part.chunk(2, dim=1) for part in product.split(2 * weight.group, dim=1)]
    halves = [torch.cat(half, dim=1) for half in zip(*parts, strict=True)]
    gate, up = (torch.cat(halves, dim=1) + delta).chunk(2, dim=1)
    return formula(gate, name) * up


@pytest.mark.parametrize(("tokens", "size", "group", "name"), [(1, 80, 64, "silu"), (5, 48, 32, "gelu")])
def test_what_is_added_has_all_of_gates_first(tokens: int, size: int, group: int, name: str, device: str) -> None:
    delta = draw(tokens, 2 * size)
    weight, dense = random_weight((2 * size,), 96, (4,), group, bias=True)
    x = small_codes(tokens, 96, group, device)
    expected = gated_formula(tokens, 96, weight, dense, name, delta)
    check(gated_linear(x, weight_on(weight, device), name, delta=delta.to(device)), expected)


@pytest.mark.usefixtures("expanded")
@pytest.mark.parametrize(
    ("tokens", "size", "group", "bias", "added"),
    [(5, 144, 64, True, False), (6, 96, 32, False, False), (5, 80, 64, True, True)],
)
def test_expanded_it_loses_what_bf16_cannot_hold(
    tokens: int, size: int, group: int, bias: bool, added: bool, device: str
) -> None:
    """Of a gate's output that is an error of two factors, and a step of int8 more."""
    delta = draw(tokens, 2 * size) if added else None
    weight, dense = random_weight((2 * size,), 208, (4,), group, bias=bias, affine=bias)
    x, on_device = small_codes(tokens, 208, group, device), weight_on(weight, device)
    y = gated_linear(x, on_device, "silu", delta=None if delta is None else delta.to(device))
    expected = gated_formula(tokens, 208, weight, dense, "silu", 0 if delta is None else delta)
    assert relative(meant(on_cpu(y), size), expected) < 4e-2
    y = activated_linear(x, on_device, "relu", delta=None if delta is None else delta.to(device))
    product = meant(small_codes(tokens, 208, group, "cpu"), 208) @ dense.T
    product += (0 if weight.bias is None else weight.bias) + (0 if delta is None else delta)
    assert relative(meant(on_cpu(y), 2 * size), product.relu()) < 4e-2


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


def on_cpu(y: Codes) -> Codes:
    return Codes(y.codes.cpu(), y.scales.cpu(), y.sums.cpu(), y.group)


def check(y: Codes, expected: torch.Tensor) -> None:
    """Codes to half a step, scales by the largest of a group, zeros behind the last value."""
    size, group = expected.shape[1], y.group
    actual = meant(on_cpu(y), size)
    padded = torch.nn.functional.pad(expected, (0, -size % group)).unflatten(1, (-1, group))
    torch.testing.assert_close(y.scales.cpu().double(), padded.abs().amax(-1) / 127, rtol=2e-5, atol=1e-12)
    step = y.scales.cpu().double().repeat_interleave(group, 1)[:, :size]
    assert ((actual - expected).abs() <= 0.51 * step).all()
    assert (y.codes[:, size : y.columns] == 0).all()
    assert relative(actual, expected) < 2e-2
