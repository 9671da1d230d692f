"""Products with weights of floats, and what follows them, against float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from llmrt_kernels.triton import dense_linear
from llmrt_kernels.triton.dense_activated_linear import activated_linear, gated_linear
from llmrt_kernels.triton.dense_linear import linear
from llmrt_kernels.triton.dense_rotary_linear import rotary_linear
from tests.kernels.operands import draw, relative
from tests.triton.interpreted.test_triton_activation import formula
from tests.triton.interpreted.test_triton_rotary_linear import check

ROUNDING = {torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}


def operand(device: str, dtype: torch.dtype, *shape: int) -> Tensor:
    return (draw(*shape) / shape[-1] ** 0.5).to(dtype).to(device)


@pytest.mark.parametrize(
    ("tokens", "columns", "rows", "dtype", "bias", "residual"),
    [
        (1, 1024, 16, torch.bfloat16, False, False),
        (1, 2048, 5, torch.bfloat16, True, True),
        (2, 1040, 19, torch.float16, False, True),
        (3, 576, 1, torch.bfloat16, True, False),
        (3, 1536, 9, torch.float32, True, True),
        (4, 33, 24, torch.float16, True, True),
        (4, 16, 3, torch.float32, False, False),
        (5, 48, 20, torch.float32, True, True),
    ],
)
def test_linear_equals_the_formula(
    tokens: int, columns: int, rows: int, dtype: torch.dtype, bias: bool, residual: bool, device: str
) -> None:
    x, weight = operand(device, dtype, tokens, columns), operand(device, dtype, rows, columns)
    b = operand(device, dtype, rows) if bias else None
    r = operand(device, dtype, tokens, rows) if residual else None
    expected = x.double() @ weight.double().T
    expected += (0 if b is None else b.double()) + (0 if r is None else r.double())
    y = linear(x, weight, b, r)
    assert y.dtype == dtype
    assert relative(y, expected) < ROUNDING[dtype]


@pytest.mark.parametrize(
    ("tokens", "columns", "size", "dtype", "more", "name"),
    [
        (1, 1024, 6, torch.bfloat16, True, "silu"),
        (2, 96, 1, torch.float16, False, "gelu"),
        (3, 1040, 17, torch.float32, False, "gelu_tanh"),
        (4, 2048, 8, torch.bfloat16, False, "relu"),
        (5, 64, 11, torch.float32, True, "silu"),
    ],
)
def test_first_halves_of_mlps_equal_the_formula(
    tokens: int, columns: int, size: int, dtype: torch.dtype, more: bool, name: str, device: str
) -> None:
    x, weight = operand(device, dtype, tokens, columns), operand(device, dtype, 2 * size, columns)
    bias, delta = (operand(device, dtype, 2 * size), operand(device, dtype, tokens, 2 * size)) if more else (None, None)
    product = x.double() @ weight.double().T
    if bias is not None and delta is not None:
        product += bias.double() + delta.double()
    gate, up = product.chunk(2, dim=1)
    for y, expected in (
        (gated_linear(x, weight, bias, name, delta=delta), formula(gate, name) * up),
        (activated_linear(x, weight, bias, name, delta=delta), formula(product, name)),
    ):
        assert y.dtype == dtype
        assert relative(y, expected) < max(ROUNDING[dtype], 1e-5)  # a device's exp


@pytest.mark.parametrize(
    ("tokens", "heads", "head_dim", "columns", "dtype", "kv_dtype", "more"),
    [
        (1, (3, 1), 128, 1024, torch.bfloat16, torch.bfloat16, True),
        (2, (2, 2), 80, 96, torch.float16, torch.float16, False),
        (3, (2, 1), 64, 1040, torch.float32, torch.bfloat16, True),
        (4, (1, 1), 2, 16, torch.float32, torch.float32, False),
        (4, (2, 1), 6, 40, torch.float16, torch.float32, True),
        (3, (2, 1), 32, 48, torch.float32, torch.int8, True),
        (2, (2, 1), 64, 48, torch.float32, torch.float8_e4m3fn, False),
        (5, (2, 1), 64, 96, torch.float32, torch.float16, True),
    ],
)
def test_rotary_linear_equals_the_formula(
    tokens: int,
    heads: tuple[int, int],
    head_dim: int,
    columns: int,
    dtype: torch.dtype,
    kv_dtype: torch.dtype,
    more: bool,
    device: str,
) -> None:
    rows = (heads[0] + 2 * heads[1]) * head_dim
    x, weight = operand(device, dtype, tokens, columns), operand(device, dtype, rows, columns)
    bias, delta = (operand(device, dtype, rows), operand(device, dtype, tokens, rows)) if more else (None, None)
    product = x.double() @ weight.double().T
    if bias is not None and delta is not None:
        product += bias.double() + delta.double()
    check(
        lambda *turn: rotary_linear(x, weight, bias, *turn, delta=delta),
        product.cpu(),
        heads,
        dtype,
        kv_dtype,
        device,
    )


def test_up_to_four_tokens_are_a_kernel(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond that products are torch's."""
    tokens = list[int]()
    monkeypatch.setattr(dense_linear, "linear_of_torch", lambda x, *_: tokens.append(len(x)))
    for count in (1, 4, 5):
        linear(operand(device, torch.float32, count, 16), operand(device, torch.float32, 8, 16), None)
    assert tokens == [5]
