"""What this processor can do at most, measured on the pool's threads with the chosen instruction set."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from llmrt_kernels.cpu.structs import MultiplyBytesArgs, ReadMemoryArgs, address
from llmrt_kernels.cpu.tape import submit

RUNS = 5
TURNS = 2_000_000  # some milliseconds, and no sum overflows
CHAINS = (6, 12)
BYTES_AHEAD = (0, 1024, 4096)


def read_bandwidth(data: Tensor, threads: int) -> float:
    """Bytes a second of reading ``data``, which should be many times as large as the last cache."""
    return max(_read_rate(data, threads, ahead) for ahead in BYTES_AHEAD)


def dot_peak(threads: int) -> float:
    """Operations a second, two for each product of bytes, of the instructions of the int4 product alone."""
    return max(_dot_rate(threads, chains) for chains in CHAINS)


def _read_rate(data: Tensor, threads: int, ahead: int) -> float:
    sums = torch.zeros(threads, dtype=torch.int64)
    args = ReadMemoryArgs(address(data), data.nbytes, ahead, address(sums))
    return data.nbytes / min(_seconds(lambda: submit("read_memory", args, data, sums)) for _ in range(RUNS))


def _dot_rate(threads: int, chains: int) -> float:
    sums = torch.zeros(threads, dtype=torch.int64)
    args = MultiplyBytesArgs(TURNS // chains, chains, address(sums))
    seconds = min(_seconds(lambda: submit("multiply_bytes", args, sums)) for _ in range(RUNS))
    return 2 * 64 * args.chains * args.turns * threads / seconds


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
