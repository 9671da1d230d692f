"""Norms as tensors and as int8, against float64 and against the rounding's definition."""

from __future__ import annotations

import pytest
import torch

from llmrt_kernels.packed import Codes
from llmrt_kernels.triton.codes import quantize_rows
from llmrt_kernels.triton.norm import layer_norm, rms_norm, rms_norm_add

TOLERANCE = {torch.float32: 3e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}


def random_rows(tokens: int, size: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(size)
    x = torch.randn(tokens, size, generator=generator).to(dtype) * 30
    return x, torch.randn(size, generator=generator).to(dtype)


def normalised(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    wide = x.double()
    return wide / (wide.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight.double()


@pytest.mark.parametrize(("tokens", "size"), [(1, 16), (3, 80), (2, 576), (5, 1), (2, 4096)])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_equals_the_formula(tokens: int, size: int, dtype: torch.dtype, device: str) -> None:
    x, weight = random_rows(tokens, size, dtype)
    y = rms_norm(x.to(device), weight.to(device), 1e-5)
    assert isinstance(y, torch.Tensor)
    assert y.dtype == dtype
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(y.cpu().double(), normalised(x, weight), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("tokens", "size", "group"), [(1, 64, 64), (3, 80, 64), (2, 576, 32), (5, 33, 32), (2, 48, 64)]
)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_codes_are_the_rounded_rows(tokens: int, size: int, group: int, dtype: torch.dtype, device: str) -> None:
    x, weight = random_rows(tokens, size, dtype)
    codes = rms_norm(x.to(device), weight.to(device), 1e-5, group)
    assert isinstance(codes, Codes)
    check_codes(codes, normalised(x, weight))


@pytest.mark.parametrize(
    ("tokens", "size", "group", "dtype"),
    [(1, 16, 0, torch.float32), (3, 80, 0, torch.bfloat16), (2, 576, 32, torch.float32), (3, 80, 64, torch.float16)],
)
def test_layer_norm_equals_the_formula(tokens: int, size: int, group: int, dtype: torch.dtype, device: str) -> None:
    x, weight = random_rows(tokens, size, dtype)
    x += 50  # a mean that the variance must not see
    bias = torch.randn(size, generator=torch.Generator().manual_seed(1)).to(dtype)
    wide = x.double()
    centred = wide - wide.mean(-1, keepdim=True)
    expected = centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight.double() + bias.double()
    y = layer_norm(x.to(device), weight.to(device), bias.to(device), 1e-5, group)
    if isinstance(y, Codes):
        check_codes(y, expected)
    else:
        torch.testing.assert_close(y.cpu().double(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize(("size", "dtype"), [(80, torch.float32), (576, torch.bfloat16)])
def test_what_is_added_is_normalised(size: int, dtype: torch.dtype, device: str) -> None:
    x, weight = random_rows(3, size, torch.float32)
    residual = random_rows(3, size + 1, dtype)[0][:, :size].contiguous()
    y = rms_norm_add(x.to(device), weight.to(device), 1e-5, residual.to(device))
    assert y.dtype == dtype
    expected = residual.double() + normalised(x, weight)
    torch.testing.assert_close(y.cpu().double(), expected, rtol=TOLERANCE[dtype], atol=3e-5)


@pytest.mark.parametrize(("tokens", "size", "group"), [(1, 64, 64), (3, 80, 64), (2, 4100, 32), (4, 5, 32)])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_rows_are_rounded(tokens: int, size: int, group: int, dtype: torch.dtype, device: str) -> None:
    x, _ = random_rows(tokens, size, dtype)
    x[0] = 0
    check_codes(quantize_rows(x.to(device), group), x.double())


def test_halves_go_to_the_even_code(device: str) -> None:
    x = torch.tensor([[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5]])
    codes = quantize_rows(x.to(device), 32).codes[0, :8].tolist()
    assert codes == [127, 0, 2, 2, 0, -2, -2, 126]


def check_codes(codes: Codes, expected: torch.Tensor) -> None:
    """The scale is the group's largest by 127, no code is off by more than half of one, sums and padding are right."""
    tokens, size = expected.shape
    rows = codes.codes.cpu()
    assert rows.shape == (tokens, codes.columns + 64)
    assert (rows[:, size : codes.columns] == 0).all()
    padded = torch.nn.functional.pad(expected, (0, codes.columns - size)).unflatten(1, (-1, codes.group))
    by_group = rows[:, : codes.columns].unflatten(1, (-1, codes.group))
    scales = codes.scales.cpu().double()
    torch.testing.assert_close(scales, padded.abs().amax(2) / 127, rtol=1e-6, atol=1e-9)
    error = (by_group * scales.unsqueeze(2) - padded).abs()
    assert (error <= scales.unsqueeze(2) * 0.501 + 1e-12).all()
    assert torch.equal(codes.sums.cpu(), by_group.sum(2, dtype=torch.int32))
