"""How long a server takes until it can answer, and the first token of a short prompt then: llmrt's and llama.cpp's.

    python -m benchmarks.startup_http [--json FILE] [--repeat 5] [--llama-server FILE]

SmolLM2 135M in 4 bits, its files in the system's memory and llmrt's packed weights made before. From the start of the
process to the first 200 of ``/ready`` or ``/health``; then the first request that this process gets, and a second one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.load import peer_file
from benchmarks.peers.client import ROOT
from benchmarks.result import options_of, provenance, write
from benchmarks.serving.client import body_of, stream
from benchmarks.serving.prompts import Prompts
from benchmarks.serving.server import Server, llama_server, llmrt_server

PROMPT = 8


def begin(start: Callable[[], Server], prompts: Prompts) -> dict[str, float]:
    """Seconds of one server's beginning."""
    with start() as server:
        ready = time.perf_counter() - server.started
        first, second = (asyncio.run(stream(server.port, body_of(prompts.of(PROMPT), 2))) for _ in range(2))
    return {
        "ready": ready,
        "first_token": first.times[0] - first.begin,
        "second_first_token": second.times[0] - second.begin,
    }


def main() -> None:
    """Measure, print, write."""
    parser = options_of(__doc__, "startup_http")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--llama-server", type=Path, default=ROOT / ".venv-peers/bin/llama-server")
    options = parser.parse_args()
    file = peer_file(options.llama_server)
    starts = {
        "llmrt": lambda: llmrt_server("smollm2-135m", "--quant", "int4", "--ctx", "512"),
        "llama_cpp": lambda: llama_server(options.llama_server, file, "-c", "512", "-np", "1"),
    }
    prompts = Prompts()
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in starts}
    for _ in range(options.repeat + 1):
        for name, start in starts.items():  # in turn, so that both see the same machine
            runs[name].append(begin(start, prompts))
    report: dict[str, Any] = {
        **provenance(),
        "runs": {name: each[1:] for name, each in runs.items()},  # the first of each filled the system's memory
        "medians": {
            name: {key: median(run[key] for run in each[1:]) for key in each[0]} for name, each in runs.items()
        },
    }
    write(report, options.json)
    for name, medians in report["medians"].items():
        print(f"{name:10}", *(f"{key} {seconds:.3f} s" for key, seconds in medians.items()))


if __name__ == "__main__":
    main()
