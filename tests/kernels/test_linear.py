"""Products with weights of floats, and what is computed right after them, against float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from llmrt_kernels.reference import linear as reference
from llmrt_kernels.reference.linear import activated_linear, gated_linear, linear
from tests.kernels.operands import draw, relative


@pytest.mark.parametrize("tokens", [1, 5])
@pytest.mark.parametrize("more", [False, True])
def test_all_equal_the_formula(tokens: int, more: bool) -> None:
    x, weight = draw(tokens, 48), draw(22, 48) / 7
    bias, delta = (draw(22), draw(tokens, 22)) if more else (None, None)
    product = x.double() @ weight.double().T
    if bias is not None and delta is not None:
        product += bias.double() + delta.double()
    gate, up = product.chunk(2, dim=1)
    assert relative(linear(x, weight, bias, delta), product) < 1e-6
    assert relative(gated_linear(x, weight, bias, "silu", delta=delta), silu(gate) * up) < 1e-6
    assert relative(activated_linear(x, weight, bias, "silu", delta=delta), silu(product)) < 1e-6


def silu(x: Tensor) -> Tensor:
    return x / (1 + (-x).exp())


def test_a_weight_of_another_type_is_converted_by_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "STRIP_VALUES", 100)
    x, weight, bias = draw(3, 48), draw(22, 48).to(torch.bfloat16), draw(22)
    y = linear(x, weight, bias)
    assert y.dtype == x.dtype
    assert relative(y, x.double() @ weight.double().T + bias) < 1e-6
