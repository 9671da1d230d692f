"""What this processor can do at most, measured on the pool's threads with the chosen instruction set. Free of torch."""

from __future__ import annotations

import ctypes
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrt_kernels.cpu.library import Call, Library
from llmrt_kernels.cpu.structs import MultiplyArgs, ReadMemoryArgs

RUNS = 5
TURNS = 2_000_000  # some milliseconds, and no sum overflows
CHAINS = (6, 12)
LINE_BYTES = 64
BYTES_AHEAD = (0, 1024, 4096)
# llmrt_dtype, and the bytes of a number.
DTYPES = {"fp32": (0, 4), "bf16": (1, 2), "int8": (3, 1)}


def read_bandwidth(library: Library, data: npt.NDArray[Any]) -> float:
    """Bytes a second of reading ``data``, which should be many times as large as the last cache."""
    return max(_read_rate(library, data, ahead) for ahead in BYTES_AHEAD)


def dot_peak(library: Library, dtype: str = "int8") -> float:
    """Operations a second, two for each product, of the instructions that multiply int8, bf16 or fp32 alone."""
    return max(_dot_rate(library, chains, dtype) for chains in CHAINS)


def _read_rate(library: Library, data: npt.NDArray[Any], ahead: int) -> float:
    sums = np.zeros(library.threads, np.int64)
    args = ReadMemoryArgs(data.ctypes.data, data.nbytes, ahead, sums.ctypes.data)
    return data.nbytes / _seconds(library, "read_memory", args)


def _dot_rate(library: Library, chains: int, dtype: str) -> float:
    sums, (code, size) = np.zeros(library.threads, np.int64), DTYPES[dtype]
    args = MultiplyArgs(TURNS // chains, chains, code, sums.ctypes.data)
    seconds = _seconds(library, "multiply", args)
    return 2 * LINE_BYTES // size * args.chains * args.turns * library.threads / seconds


def _seconds(library: Library, op: str, args: ctypes.Structure) -> float:
    """Of the fastest run."""
    calls = (Call * 1)(Call(library.find(op), ctypes.addressof(args)))
    times: list[float] = []
    for _ in range(RUNS):
        start = time.perf_counter()
        library.run(calls, 1)
        times.append(time.perf_counter() - start)
    return min(times)
