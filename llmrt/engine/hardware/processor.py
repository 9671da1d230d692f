"""The processor, as the system names it. Free of torch."""

from __future__ import annotations

import platform
from pathlib import Path

from llmrt.engine.hardware.sysctl import sysctl
from llmrt.ops.rules import native_library

CPUINFO = Path("/proc/cpuinfo")


def processor_name(cpuinfo: Path = CPUINFO) -> str:
    """The model that the kernel names, else what Python knows."""
    named = _field(cpuinfo, "model name") or sysctl("machdep.cpu.brand_string")
    return named or platform.processor() or platform.machine()


def multiplies_bf16() -> bool:
    """Whether it has instructions that do."""
    library = native_library()
    if library is not None:
        return "avx512_bf16" in library.available_isas
    return "avx512_bf16" in _field(CPUINFO, "flags").split()


def _field(cpuinfo: Path, wanted: str) -> str:
    """The first value of this name, empty where there is none."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in pairs if key.strip() == wanted), "")
