"""What this processor can do at most, measured on the pool's threads with the chosen instruction set."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from llmrt_kernels.cpu.structs import DTYPES, MultiplyArgs, ReadMemoryArgs, address
from llmrt_kernels.cpu.tape import submit

RUNS = 5
TURNS = 2_000_000  # some milliseconds, and no sum overflows
CHAINS = (6, 12)
LINE_BYTES = 64
BYTES_AHEAD = (0, 1024, 4096)


def read_bandwidth(data: Tensor, threads: int) -> float:
    """Bytes a second of reading ``data``, which should be many times as large as the last cache."""
    return max(_read_rate(data, threads, ahead) for ahead in BYTES_AHEAD)


def dot_peak(threads: int, dtype: torch.dtype = torch.int8) -> float:
    """Operations a second, two for each product, of the instructions that multiply int8, bf16 or fp32 alone."""
    return max(_dot_rate(threads, chains, dtype) for chains in CHAINS)


def _read_rate(data: Tensor, threads: int, ahead: int) -> float:
    sums = torch.zeros(threads, dtype=torch.int64)
    args = ReadMemoryArgs(address(data), data.nbytes, ahead, address(sums))
    return data.nbytes / min(_seconds(lambda: submit("read_memory", args, data, sums)) for _ in range(RUNS))


def _dot_rate(threads: int, chains: int, dtype: torch.dtype) -> float:
    sums = torch.zeros(threads, dtype=torch.int64)
    args = MultiplyArgs(TURNS // chains, chains, DTYPES[dtype], address(sums))
    seconds = min(_seconds(lambda: submit("multiply", args, sums)) for _ in range(RUNS))
    return 2 * LINE_BYTES // dtype.itemsize * args.chains * args.turns * threads / seconds


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
