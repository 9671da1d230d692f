"""A checkpoint of 7B parameters on this machine: quantizing it, and starting from what that gave.

    python -m benchmarks.large [--json FILE] [--steps quantize load warm cold] [--alias mistral-7b] [--repeat 3]

A folder of sharded bf16 safetensors with random weights (14.5 GB) is written once into build/peers. Then, each in a
process of its own, timed from outside with the most memory that it held, pages of mapped files among it:

    quantize      llmrt quantize, from the shards to a folder of packed weights
    load          llmrt generate --quant int4 on the shards, to the first token; the weights are packed on the way
    warm, cold    llmrt generate on the packed folder, to the first token; its file in the page cache, or on disk alone

Steps that are not named keep their figures in FILE. Beside the memory stands its bound: the packed weights, one layer
as it is stored, and 600 MB.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.page_cache import forget
from benchmarks.peers.client import ROOT, llmrt_client
from benchmarks.peers.random_folder import random_folder
from benchmarks.result import options_of, write
from llmrt.cli.machine import this_machine
from llmrt.model.checkpoints.config_files import read_config
from llmrt.model.checkpoints.packed_header import PACKED_FILE
from llmrt.model.checkpoints.tensor_slots import tensor_slots
from llmrt.model.families.family import TensorNames

ALLOWANCE = 600_000_000  # Python, torch, the tokens' way through a layer, strips in fp32
LLMRT = str(Path(sys.executable).with_name("llmrt"))


def measured(command: Sequence[str]) -> dict[str, float]:
    """Seconds from start to end of a process, and the most bytes that it held."""
    start = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {said.decode()}")
    peak = usage.ru_maxrss if sys.platform == "darwin" else usage.ru_maxrss * 1024
    return {"seconds": time.perf_counter() - start, "peak_bytes": peak}


def first_token(model: Path, *options: str) -> list[str]:
    """The command for one token behind a prompt of seven bytes."""
    return [LLMRT, "generate", str(model), "0123456", "--max-tokens", "1", "--ctx", "512", *options]


class Steps:
    """The measurements, by name, of the folder of shards at ``model``."""

    def __init__(self, model: Path, repeat: int) -> None:
        self._model = model
        self._packed = model.with_name(f"{model.name}-int4")
        self._repeat = repeat

    def quantize(self) -> dict[str, Any]:
        """``llmrt quantize`` from the shards."""
        shutil.rmtree(self._packed, ignore_errors=True)
        return measured([LLMRT, "quantize", str(self._model), "-o", str(self._packed), "--quant", "int4"])

    def load(self) -> dict[str, Any]:
        """A first run on the shards."""
        shutil.rmtree(self._model / ".llmrt", ignore_errors=True)
        figures = measured(first_token(self._model, "--quant", "int4"))
        shutil.rmtree(self._model / ".llmrt")
        return figures

    def warm(self) -> dict[str, Any]:
        """Runs on the packed folder, which was just read."""
        measured(first_token(self._packed))  # into the page cache
        return self._starts(lambda: None)

    def cold(self) -> dict[str, Any]:
        """The same when nothing of it is in memory."""
        return self._starts(lambda: forget(self._packed / PACKED_FILE))

    def bound_bytes(self) -> int:
        """What quantizing may hold."""
        slots = tensor_slots(read_config(self._model), TensorNames()).values()
        layer = sum(math.prod(slot.shape) for slot in slots if slot.parameter.startswith("layers.0."))
        return (self._packed / PACKED_FILE).stat().st_size + 2 * layer + ALLOWANCE

    def _starts(self, before: Callable[[], None]) -> dict[str, Any]:
        runs: list[dict[str, float]] = []
        for _ in range(self._repeat):
            before()
            runs.append(measured(first_token(self._packed)))
        return {key: median(run[key] for run in runs) for key in runs[0]} | {"runs": runs}


STEPS = ("quantize", "load", "warm", "cold")


def main() -> None:
    """Measure, print, write."""
    parser = options_of(__doc__, "large")
    parser.add_argument("--steps", nargs="*", choices=STEPS, default=STEPS)
    parser.add_argument("--alias", default="mistral-7b")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    # A process begins with the most memory that the one which starts it holds, so the folder is written by another.
    with ProcessPoolExecutor(1, get_context("spawn")) as writer:
        model = writer.submit(random_folder, options.alias).result()
    steps = Steps(model, options.repeat)
    with llmrt_client() as own:
        info = own.ask("info")
    known = json.loads(options.json.read_text())["steps"] if options.json.exists() else {}
    report: dict[str, Any] = {"llmrt": info, "machine": asdict(this_machine()), "alias": options.alias, "steps": known}
    for name in options.steps:
        figures = report["steps"][name] = getattr(steps, name)()
        print(f"{name:9} {figures['seconds']:7.2f} s {figures['peak_bytes'] / 1e9:6.2f} GB", flush=True)
    report["bound_bytes"] = steps.bound_bytes()
    print(f"bound of quantizing {report['bound_bytes'] / 1e9:.2f} GB")
    write(report, options.json)


if __name__ == "__main__":
    main()
