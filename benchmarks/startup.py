"""How long it takes to begin: llmrt's commands, and the first token of a fresh process, beside llama.cpp's.

    python -m benchmarks.startup [--json FILE] [--shapes smollm2 1.1b]

Both engines read the same GGUF files, which the system holds in memory. "stored" computes with the codes of the file,
which is llmrt's default. With ``--quant int4`` they are rounded anew: "cold" is the first run with a file, which keeps
what it made, and "warm" a later one. Times are of whole processes, the start of Python among them, from a prompt of
eight tokens to the first token behind it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.peers.client import ROOT, llama_cpp_client, llmrt_client
from benchmarks.peers.files import model_file
from benchmarks.peers.shapes import SHAPES
from benchmarks.result import options_of, write
from llmrt.cli.machine import this_machine
from llmrt.engine.hardware.threads import usable_cores

COMMANDS = {
    "llmrt --help": [str(Path(sys.executable).with_name("llmrt")), "--help"],
    "import llmrt": [sys.executable, "-c", "import llmrt"],
    "python": [sys.executable, "-c", ""],
}
# As many tokens as the peer is given: the prompt has a beginning and seven bytes.
PROMPT_TOKENS = 8
STATES = ("stored", "cold", "warm", "llama_cpp")


def seconds_of(command: Sequence[str], **environment: str) -> float:
    """Wall time of a process."""
    start = time.perf_counter()
    subprocess.run(
        command, check=True, stdin=subprocess.DEVNULL, capture_output=True, cwd=ROOT, env={**os.environ, **environment}
    )
    return time.perf_counter() - start


def llmrt_first_token(file: Path, threads: int) -> dict[str, list[float]]:
    """Runs of ``llmrt generate`` in a fresh home, with a file of its own name: as it is stored, and in int4."""
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        fresh = Path(folder) / file.name
        os.link(file, fresh)
        generate = [COMMANDS["llmrt --help"][0], "generate", str(fresh), "0123456", "--max-tokens", "1"]
        command = [*generate, "--ctx", "512", "--threads", str(threads)]
        schemes = ("stored", "int4", "int4", "int4")
        times = [
            seconds_of([*command, "--quant", scheme], LLMRT_HOME=folder, XDG_CACHE_HOME=folder) for scheme in schemes
        ]
    return {"stored": times[:1], "cold": times[1:2], "warm": times[2:]}


def llama_cpp_first_token(file: Path, threads: int, python: Path) -> float:
    """A fresh process of the peer up to its first token."""
    start = time.perf_counter()
    with llama_cpp_client(python) as peer:
        peer.ask("load", path=str(file), context=512, sequences=1, threads=threads, kv="f16")
        peer.ask("measure", prompt=PROMPT_TOKENS, gen=1, depth=0, batch=1)
        return time.perf_counter() - start


def repeated(count: int, call: Callable[[], float]) -> dict[str, Any]:
    return _summary([call() for _ in range(count)])


def _summary(times: Sequence[float]) -> dict[str, Any]:
    return {"median": median(times), "runs": list(times)}


def _first_tokens(shape: str, options: argparse.Namespace) -> dict[str, Any]:
    with llama_cpp_client(options.peer_python) as peer:
        file = model_file(shape, "Q4_0", peer)
    times: dict[str, list[float]] = {state: [] for state in STATES}
    for _ in range(options.repeat):  # in turn, so that both see the same machine
        for state, seconds in llmrt_first_token(file, options.threads).items():
            times[state] += seconds
        times["llama_cpp"].append(llama_cpp_first_token(file, options.threads, options.peer_python))
    return {"title": SHAPES[shape].title, "file": file.name, **{name: _summary(of) for name, of in times.items()}}


def main() -> None:
    """Measure, print, write."""
    parser = options_of(__doc__, "startup")
    parser.add_argument("--shapes", nargs="*", choices=SHAPES, default=["smollm2", "1.1b"])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--peer-python", type=Path, default=ROOT / ".venv-peers/bin/python")
    options = parser.parse_args()
    with llmrt_client() as own:
        info = own.ask("info")
    report: dict[str, Any] = {
        "llmrt": info,
        "machine": asdict(this_machine()),
        "threads": options.threads,
        "commands": {},
        "first_token": {},
    }
    for name, command in COMMANDS.items():
        seconds_of(command)
        times = report["commands"][name] = repeated(10, lambda command=command: seconds_of(command))
        print(f"{name:16} {times['median']:6.3f} s", flush=True)
    for shape in options.shapes:
        figures = report["first_token"][shape] = _first_tokens(shape, options)
        medians = {name: figures[name]["median"] for name in STATES}
        print(f"first token, {shape:8}", *(f"{name} {seconds:6.2f} s" for name, seconds in medians.items()), flush=True)
    write(report, options.json)


if __name__ == "__main__":
    main()
