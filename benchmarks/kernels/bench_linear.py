"""The packed products against torch's bf16 product and against the read bandwidth, both measured in the same process.

    python benchmarks/kernels/bench_linear.py [--json FILE] [--threads N]

Weights are cold: enough copies are walked through that none is in a cache when its turn comes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from llmrt.cli.machine import this_machine
from llmrt.engine.threads import usable_cores
from llmrt_kernels.cpu.library import load
from llmrt_kernels.cpu.linear import linear_packed

SHAPES = {
    "7B gate_up": (28672, 4096),
    "7B down": (4096, 14336),
    "1.1B gate_up": (11264, 2048),
    "135M gate_up": (3072, 576),
}
TOKENS = (1, 8, 128, 512)
SCHEMES = ((4, 32), (4, 64), (8, 64))
COLD_BYTES = 1_000_000_000
RUNS = 9


@dataclass(frozen=True)
class Row:
    """One product; ``bandwidth`` is a fraction of the read bandwidth, ``over_torch`` torch's time over ours."""

    shape: str
    bits: int
    group: int
    tokens: int
    microseconds: float
    gops: float
    gigabytes_per_second: float
    bandwidth: float
    over_torch: float


def seconds_each(calls: Sequence[Callable[[], object]]) -> float:
    """Median time of a call, each walked through in turn."""
    times: list[float] = []
    for i in range(max(RUNS, len(calls))):
        start = time.perf_counter()
        calls[i % len(calls)]()
        times.append(time.perf_counter() - start)
    return median(times)


def read_bandwidth(threads: int) -> float:
    """Bytes a second of summing a buffer that fits no cache."""
    torch.set_num_threads(threads)
    buffer = torch.ones(COLD_BYTES // 4, dtype=torch.int64)
    seconds = min(seconds_each([buffer.sum]) for _ in range(3))
    torch.set_num_threads(1)
    return buffer.numel() * 8 / seconds


def torch_seconds(shape: tuple[int, int], tokens: int, threads: int) -> float:
    """torch's product with cold bf16 weights."""
    torch.set_num_threads(threads)
    copies = max(1, min(40, COLD_BYTES // (2 * shape[0] * shape[1])))
    weights = [torch.randn(shape[0], shape[1]).bfloat16() for _ in range(copies)]
    x = torch.randn(tokens, shape[1]).bfloat16()
    seconds = seconds_each([lambda w=w: F.linear(x, w) for w in weights])
    torch.set_num_threads(1)
    return seconds


def packed_seconds(shape: tuple[int, int], tokens: int, bits: int, group: int) -> tuple[float, int]:
    """Our product with cold weights, and the bytes of one weight with its scales."""
    rows, columns = shape
    num_bytes = rows * columns * bits // 8 + rows * columns // group * 2
    x, out = torch.randn(tokens, columns), torch.empty(tokens, rows)

    def call(data: Tensor, scales: Tensor) -> None:
        linear_packed(x, data, scales, None, None, out, bits=bits, group=group)

    copies = [
        (
            torch.randint(0, 256, (rows // 16, columns * bits // 32, 64), dtype=torch.uint8),
            torch.rand(rows // 16, columns // group, 16).half(),
        )
        for _ in range(max(1, min(60, COLD_BYTES // num_bytes)))
    ]
    return seconds_each([lambda c=c: call(*c) for c in copies]), num_bytes


def main() -> None:
    """Measure, print a table, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--threads", type=int, default=usable_cores())
    options = parser.parse_args()
    library = load()
    assert library is not None, "the native library is not built"
    library.set_threads(options.threads)
    bandwidth = read_bandwidth(options.threads)
    print(f"{library.isa}, {options.threads} threads, read bandwidth {bandwidth / 1e9:.1f} GB/s")
    print("shape          scheme   tokens        us   GOP/s   GB/s of bandwidth  x torch")
    rows: list[Row] = []
    for name, shape in SHAPES.items():
        for tokens in TOKENS:
            base = torch_seconds(shape, tokens, options.threads)
            for bits, group in SCHEMES:
                seconds, num_bytes = packed_seconds(shape, tokens, bits, group)
                rate, gops = num_bytes / seconds, 2 * shape[0] * shape[1] * tokens / seconds / 1e9
                row = Row(name, bits, group, tokens, seconds * 1e6, gops, rate / 1e9, rate / bandwidth, base / seconds)
                rows.append(row)
                print(
                    f"{name:14} int{bits} g{group} {tokens:6} {row.microseconds:9.0f} {gops:7.0f}"
                    f" {row.gigabytes_per_second:6.1f} {row.bandwidth:12.0%} {row.over_torch:8.2f}",
                    flush=True,
                )
    if options.json:
        report = {
            "isa": library.isa,
            "threads": options.threads,
            "read_bandwidth": bandwidth,
            "rows": [asdict(row) for row in rows],
            "machine": asdict(this_machine()),
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
