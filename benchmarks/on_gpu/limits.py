"""What the device reaches by itself: bytes that a copy moves, and operations of a matrix product, in this process."""

from __future__ import annotations

from functools import cache

import torch

COPY_BYTES = 1 << 30
SIZE = 8192  # of the square matrices


@cache
def copy_bandwidth() -> float:
    """Bytes a second, those read and those written together."""
    source = torch.empty(COPY_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * COPY_BYTES / seconds(lambda: target.copy_(source))


@cache
def matmul_rate() -> float:
    """Floating point operations a second of a product of bf16 matrices."""
    a, b = (torch.randn(SIZE, SIZE, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    return 2 * SIZE**3 / seconds(lambda: torch.mm(a, b))


def seconds(work: object) -> float:
    """Median time of one run."""
    from triton.testing import do_bench

    return do_bench(work, warmup=20, rep=100, return_mode="median") / 1000
