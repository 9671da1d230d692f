"""The likeliest token, the first of equals."""

from __future__ import annotations

import pytest
import torch

from llmrt_kernels.triton.argmax import argmax


@pytest.mark.parametrize("size", [1, 15, 2048, 2049, 10_001])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_first_of_the_largest(size: int, dtype: torch.dtype, device: str) -> None:
    generator = torch.Generator().manual_seed(size)
    logits = torch.randn(4, size, generator=generator).to(dtype)
    logits[1] = -5.0  # all equal
    logits[2, size // 2 :] = logits.max() + 1  # the largest many times, from the middle on
    logits[3] = -logits[3].abs() - 1
    first = [logits[0].tolist().index(logits[0].max()), 0, size // 2, logits[3].tolist().index(logits[3].max())]
    assert argmax(logits.to(device)).tolist() == first


def test_zeros_of_both_signs_are_equal(device: str) -> None:
    assert argmax(torch.tensor([[-1.0, -0.0, 0.0]], device=device)).item() == 1


@pytest.mark.parametrize("value", [float("nan"), -float("nan"), float("-inf"), float("inf")])
def test_it_stays_in_range(value: float, device: str) -> None:
    assert argmax(torch.full((1, 37), value, device=device)).item() in range(37)
