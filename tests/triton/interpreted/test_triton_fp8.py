"""Numbers of eight bits beside torch's own, all of them and what lies between."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from llmrt_kernels.triton.fp8 import halves_of_fp8, to_fp8
from llmrt_kernels.triton.target import target_of

CODES = torch.arange(256, dtype=torch.uint8)
NUMBERS = CODES.view(torch.float8_e4m3fn).float()  # two of which are none


@triton.jit
def encode(x_ptr, y_ptr, N: tl.constexpr):
    at = tl.arange(0, N)
    tl.store(y_ptr + at, to_fp8(tl.load(x_ptr + at)).to(tl.uint8))


@triton.jit
def decode(x_ptr, scales_ptr, y_ptr, N: tl.constexpr, ASM: tl.constexpr):
    at = tl.arange(0, N)
    tl.store(y_ptr + at, halves_of_fp8(tl.load(x_ptr + at), tl.load(scales_ptr + at), ASM))


def test_every_code_is_the_number_that_it_is_to_torch(device: str) -> None:
    there: Any = CODES.to(device)
    y = torch.empty(256, dtype=torch.float16, device=device)
    decode[(1,)](there, torch.full_like(y, 256 / 8), y, N=256, ASM=target_of(there.device).asm)
    known = ~NUMBERS.isnan()
    assert torch.equal(y.cpu()[known], (NUMBERS / 8).half()[known])


def test_rounding_is_that_of_torch(device: str) -> None:
    """Numbers, the halves between neighbours, what is next to those, and others."""
    numbers = NUMBERS[~NUMBERS.isnan()].sort().values
    halves = (numbers[1:] + numbers[:-1]) / 2
    generator = torch.Generator().manual_seed(0)
    others = torch.randn(3000, generator=generator) * torch.logspace(-5, 2, 3000)
    x = torch.cat((numbers, halves, halves * (1 + 2**-23), halves * (1 - 2**-23), others, torch.zeros(334)))
    x = x.clamp(-448.01, 448.01)[:4096]
    y = torch.empty(len(x), dtype=torch.uint8, device=device)
    encode[(1,)](x.to(device), y, N=4096)
    assert len(x) == 4096
    assert torch.equal(y.cpu(), x.to(torch.float8_e4m3fn).view(torch.uint8))
