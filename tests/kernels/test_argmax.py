"""The likeliest token, on every instruction set of this machine."""

from __future__ import annotations

import pytest
import torch

from llmrt_kernels.cpu.argmax import argmax


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("size", [1, 15, 16, 4096, 4097, 49152, 128_003])
def test_the_first_of_the_largest(size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    logits = torch.randn(3, size, generator=generator)
    logits[1] = -5.0  # all equal
    logits[2, size // 2 :] = logits.max() + 1  # the largest many times, from the middle on
    assert argmax(logits).tolist() == [int(logits[0].argmax()), 0, size // 2]


@pytest.mark.usefixtures("isa")
def test_what_is_not_a_number_leaves_it_in_range() -> None:
    assert 0 <= argmax(torch.full((1, 37), torch.nan)).item() < 37
