"""What a measurement ran on."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass

import psutil

from llmrt import __version__
from llmrt.engine.hardware.processor import processor_name
from llmrt.engine.hardware.system_memory import total_memory
from llmrt.engine.hardware.threads import usable_cores


@dataclass(frozen=True, kw_only=True)
class Machine:
    """``cores`` are physical, ``usable_cores`` those within this process's share.

    ``memory_bytes`` are those that it may use, under the limit of a control group if they are limited.
    """

    processor: str
    cores: int | None
    logical_cores: int | None
    usable_cores: int
    memory_bytes: int
    memory_is_limited: bool
    system: str
    python: str
    torch: str
    llmrt: str


def this_machine() -> Machine:
    """Imports torch, whose version is part of it."""
    import torch

    memory, is_limited = total_memory()
    return Machine(
        processor=processor_name(),
        cores=psutil.cpu_count(logical=False),
        logical_cores=psutil.cpu_count(),
        usable_cores=usable_cores(),
        memory_bytes=memory,
        memory_is_limited=is_limited,
        system=platform.platform(),
        python=platform.python_version(),
        torch=str(torch.__version__),
        llmrt=__version__,
    )


def peak_memory() -> int:
    """The most bytes of memory that this process has held at once."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB
