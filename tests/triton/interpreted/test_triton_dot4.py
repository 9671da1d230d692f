"""Products of four bytes against integers of Python's."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from llmrt_kernels.triton.dot4 import dot4
from llmrt_kernels.triton.target import target_of


@triton.jit
def dot4_rows(a_ptr, b_ptr, c_ptr, y_ptr, N: tl.constexpr, ASM: tl.constexpr):
    at = tl.arange(0, N)
    tl.store(y_ptr + at, dot4(tl.load(a_ptr + at), tl.load(b_ptr + at), tl.load(c_ptr + at), ASM))


def test_equals_integers(device: str) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randint(-128, 128, (64, 4), generator=generator, dtype=torch.int8) for _ in range(2))
    a[0], b[0] = -128, -128
    c = torch.randint(-(1 << 20), 1 << 20, (64,), generator=generator, dtype=torch.int32)
    y = torch.empty(64, dtype=torch.int32, device=device)
    words = [t.view(torch.int32).flatten().to(device) for t in (a, b)]
    dot4_rows[(1,)](*words, c.to(device), y, 64, target_of(y.device).asm)
    assert torch.equal(y.cpu(), c + (a.int() * b.int()).sum(1, dtype=torch.int32))
