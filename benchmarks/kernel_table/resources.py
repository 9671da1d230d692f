"""Registers, spills and shared memory of a compiled kernel."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

import triton
from triton.compiler import CompiledKernel

KB = 1024
# That one thread block may have.
SHARED_MEMORY = {
    **{"sm_80": 163 * KB, "sm_86": 99 * KB, "sm_89": 99 * KB, "sm_90": 227 * KB, "sm_120": 99 * KB},
    **{"gfx1100": 64 * KB, "gfx942": 64 * KB},
}
TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


@dataclass(frozen=True)
class Resources:
    """``registers`` of a thread, ``spilled`` bytes that it keeps in memory instead, ``shared`` bytes of a block."""

    registers: int
    spilled: int
    shared: int


def resources_of(kernel: CompiledKernel) -> Resources:
    """Of a kernel for either maker's devices."""
    read = _nvidia if "cubin" in kernel.asm else _amd
    return Resources(*read(kernel), kernel.metadata.shared)


def on_cubin(tool: str, *options: str, cubin: bytes) -> str:
    """What one of NVIDIA's tools, which Triton brings, prints of ``cubin``."""
    with NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        return subprocess.run([TOOLS / tool, *options, file.name], capture_output=True, text=True, check=True).stdout


def _nvidia(kernel: CompiledKernel) -> tuple[int, int]:
    usage = on_cubin("cuobjdump", "--dump-resource-usage", cubin=kernel.asm["cubin"])
    return _number(r"REG:(\d+)", usage), _number(r"STACK:(\d+)", usage) + _number(r"LOCAL:(\d+)", usage)


def _amd(kernel: CompiledKernel) -> tuple[int, int]:
    text = kernel.asm["amdgcn"]
    spilled = _number(r"\.vgpr_spill_count:\s*(\d+)", text) + _number(r"\.sgpr_spill_count:\s*(\d+)", text)
    return _number(r"\.vgpr_count:\s*(\d+)", text), 4 * spilled


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    assert found, f"no {pattern} in what the tool says"
    return int(found[1])
