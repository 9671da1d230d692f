"""Memory that no cache holds, and times of calls that walk through it. For the benchmarks of single kernels."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

import torch
from torch import Tensor

ARENA_BYTES = 1 << 29
MIN_RUNS, MAX_RUNS, SECONDS = 3, 15, 0.15


def arena(dtype: torch.dtype) -> Tensor:
    """Numbers of ``dtype``, a block of random ones repeated: what they are changes no time, making them would."""
    block = torch.randint(0, 256, (1 << 20,), dtype=torch.uint8) if dtype == torch.uint8 else torch.randn(1 << 20)
    block = block.to(dtype)
    return block.repeat(ARENA_BYTES // block.nbytes)


def cold_copies(memory: Tensor, shape: Sequence[int], most: int = MAX_RUNS) -> list[Tensor]:
    """Tensors of ``shape``, one after the other in ``memory``."""
    size = torch.Size(shape).numel()
    assert size <= memory.numel()
    return [memory[i * size : (i + 1) * size].view(*shape) for i in range(min(most, memory.numel() // size))]


def seconds_each(calls: Sequence[Callable[[], object]]) -> float:
    """Median time of a call, each walked through in turn."""
    times: list[float] = []
    calls[-1]()
    while len(times) < MIN_RUNS or (sum(times) < SECONDS and len(times) < MAX_RUNS):
        start = time.perf_counter()
        calls[len(times) % len(calls)]()
        times.append(time.perf_counter() - start)
    return median(times)
