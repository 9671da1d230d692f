"""Running one section after the other, whatever becomes of each, with the results on disk all along."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import triton

Section = Callable[[], Any]


def machine() -> dict[str, Any]:
    """What the results were measured on."""
    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "memory_bytes": properties.total_memory,
        "multiprocessors": properties.multi_processor_count,
        "driver": _driver(),
        "cuda": torch.version.cuda,
        "rocm": torch.version.hip,
        "torch": torch.__version__,
        "triton": triton.__version__,
        "python": sys.version.split()[0],
    }


class Sections:
    """``num_failed`` of them raised; ``seconds`` after the first began, no more begins."""

    def __init__(self, file: Path | None, seconds: float) -> None:
        self.num_failed = 0
        self._file = file
        self._end = time.monotonic() + seconds
        self._report: dict[str, Any] = {"machine": machine(), "sections": {}}
        print(json.dumps(self._report["machine"]), flush=True)

    def run(self, name: str, section: Section) -> None:
        """Run one, print what it returns, and write the report."""
        print(f"== {name}", flush=True)
        start = time.monotonic()
        outcome = {"skipped": "out of time"} if start > self._end else self._outcome(section)
        self._report["sections"][name] = {"seconds": round(time.monotonic() - start, 1), **outcome}
        print(json.dumps(outcome.get("rows", outcome), indent=1), flush=True)
        if self._file is not None:
            self._file.write_text(json.dumps(self._report, indent=1) + "\n")

    def _outcome(self, section: Section) -> dict[str, Any]:
        try:
            return {"rows": section()}
        except Exception as error:
            self.num_failed += 1
            return {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc().splitlines()[-12:]}


def _driver() -> str | None:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None
