"""What a device can do at most: bytes read and operations a second. Free of torch."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from llmrt.engine.hardware.gpus import Gpu
from llmrt.engine.hardware.system_memory import available_memory
from llmrt.engine.hardware.threads import usable_cores
from llmrt.ops.rules import native_library
from llmrt_kernels.cpu.measure import dot_peak, read_bandwidth

READ_BYTES = 512_000_000  # many times the last cache of most processors
LEAST_READ_BYTES = 128_000_000  # fewer may stay in a cache, whose rate is another
MEASURE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """``source`` says how they are known; ``operations_per_second`` is None where they are not."""

    read_bytes_per_second: float
    operations_per_second: float | None
    source: str


def processor_limits(dtype: str) -> Limits | None:
    """Measured with products of ``dtype`` ("int8", "bf16" or "fp32"); None without the native kernels, or
    with too little memory to measure.

    The best of a second's measurements, for whoever shares the processor takes its turns.
    """
    library = native_library()
    num_bytes = min(READ_BYTES, available_memory() // 4)
    if library is None or num_bytes < LEAST_READ_BYTES:
        return None
    library.set_threads(usable_cores())
    data = np.ones(num_bytes, np.uint8)
    read, operations, end = 0.0, 0.0, time.monotonic() + MEASURE_SECONDS
    while not operations or time.monotonic() < end:
        read = max(read, read_bandwidth(library, data))
        operations = max(operations, dot_peak(library, dtype))
    return Limits(
        read_bytes_per_second=read,
        operations_per_second=operations,
        source=f"measured now with {library.threads} threads, {library.isa}",
    )


def gpu_limits(gpu: Gpu) -> Limits | None:
    """As its driver states them; None where it does not."""
    if gpu.read_bytes_per_second is None:
        return None
    source = f"what the driver says of {gpu.name}"
    return Limits(read_bytes_per_second=gpu.read_bytes_per_second, operations_per_second=None, source=source)
