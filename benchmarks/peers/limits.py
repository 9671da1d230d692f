"""What this machine can do at most, measured: the read bandwidth and the peak of 8 bit dot products."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

_BUFFER_BYTES = 1 << 30
_ROUNDS = 20_000_000
_REPEAT = 5


def measure_limits(threads: int) -> dict[str, float]:
    """Bytes read a second and operations a second (a multiply and an add are two) on ``threads`` threads.

    The peak is 0 where the processor has no instruction for it that limits.c knows.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "limits.so"
        source = Path(__file__).with_name("limits.c")
        subprocess.run(["cc", "-O3", "-march=native", "-shared", "-fPIC", "-o", target, source], check=True)
        library = ctypes.CDLL(str(target))
    library.dot_bytes.restype = ctypes.c_int64
    words = np.ones(_BUFFER_BYTES // 8, np.uint64)
    part = len(words) // threads

    def read(thread: int) -> None:
        library.read_words(ctypes.c_void_p(words.ctypes.data + thread * part * 8), ctypes.c_size_t(part))

    def dot(thread: int) -> int:
        return library.dot_bytes(ctypes.c_int64(_ROUNDS), thread + 1)

    with ThreadPoolExecutor(threads) as pool:
        read_seconds = _best(lambda: list(pool.map(read, range(threads))))
        dot_seconds = _best(lambda: list(pool.map(dot, range(threads))))
    return {
        "read_bytes_per_second": part * threads * 8 / read_seconds,
        "int8_operations_per_second": library.dot_bytes(ctypes.c_int64(1), 1) * _ROUNDS * threads / dot_seconds,
    }


def _best(call: Callable[[], object]) -> float:
    times: list[float] = []
    for _ in range(_REPEAT):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)
