"""What the benchmarks of single kernels begin and end with: options, the machine's limits, a JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.kernels.cold import arena
from llmrt.cli.machine import this_machine
from llmrt.engine.hardware.threads import usable_cores
from llmrt_kernels.cpu.library import load
from llmrt_kernels.cpu.measure import dot_peak, read_bandwidth


@dataclass(frozen=True)
class Session:
    """The chosen instruction set and threads; bytes read and operations on bytes a second, measured in this process."""

    isa: str
    threads: int
    read_bandwidth: float
    dot_peak: float
    json: Path | None = None

    @classmethod
    def begin(cls, about: str | None) -> Session:
        """From the command line; says what was measured. ``about`` is the program's docstring."""
        parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
        parser.add_argument("--json", type=Path)
        parser.add_argument("--threads", type=int, default=usable_cores())
        options = parser.parse_args()
        session = cls.on(options.threads, options.json)
        print(
            f"{session.isa}, {session.threads} threads, reads {session.read_bandwidth / 1e9:.1f} GB/s,"
            f" multiplies {session.dot_peak / 1e9:.0f} GOP/s"
        )
        return session

    @classmethod
    def on(cls, threads: int, json: Path | None = None) -> Session:
        """Measure the limits of ``threads`` threads, which the native kernels have from now on."""
        library = load()
        assert library is not None, "the native library is not built"
        library.set_threads(threads)
        bandwidth = read_bandwidth(library, arena(torch.uint8).numpy())
        return cls(library.isa, threads, bandwidth, dot_peak(library), json)

    def end(self, rows: Sequence[Any]) -> None:
        """Write the dataclasses ``rows`` where --json says."""
        if self.json is None:
            return
        report = asdict(self) | {"rows": [asdict(row) for row in rows], "machine": asdict(this_machine())}
        del report["json"]
        self.json.write_text(json.dumps(report, indent=1) + "\n")
