"""What is measured on."""

from __future__ import annotations

import subprocess
import sys

import torch
import triton

from benchmarks.on_gpu.sections import Rows


def machine() -> Rows:
    """The GPU and the versions of what drives it."""
    properties = torch.cuda.get_device_properties(0)
    rows = {
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
    yield from rows.items()


def _driver() -> str | None:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None
