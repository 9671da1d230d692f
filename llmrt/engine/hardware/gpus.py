"""NVIDIA's GPUs, as their driver describes them. Free of torch."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sysconfig
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llmrt.engine.hardware.system_memory import available_memory, total_memory

OLDEST_CAPABILITY = (8, 0)  # NVIDIA's Ampere, the first with bf16, which the kernels are compiled for
TRANSFERS_PER_CLOCK = 2


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One that shares the processor's memory has ``total_bytes`` and ``free_bytes`` of that.

    ``read_bytes_per_second`` is the width of its memory times its clock, more than any program gets; None where the
    driver does not tell.
    """

    name: str
    driver: str
    capability: tuple[int, int]
    total_bytes: int
    free_bytes: int
    read_bytes_per_second: float | None

    @property
    def arch(self) -> str:
        """What its maker calls its kind: sm_90."""
        return sm_name(self.capability)

    @property
    def refusal(self) -> str | None:
        """Why models cannot run on it, None if they can."""
        if (torch := installed("torch")) is None or "+cpu" in torch:
            return "torch is installed for the cpu alone" if torch else "torch is not installed"
        return gpu_refusal(self.capability)


def visible_gpus() -> list[Gpu]:
    """Those that torch would see, in its order; none without a driver."""
    with _driver() as nvml:
        return [] if nvml is None else [_describe(nvml, handle) for handle in _visible_handles(nvml)]


def auto_device() -> str:
    """What ``--device auto`` takes, as far as the driver tells: "cuda" where its first GPU serves, else "cpu"."""
    return "cuda" if any(gpu.refusal is None for gpu in visible_gpus()[:1]) else "cpu"


def sm_name(capability: tuple[int, int]) -> str:
    """What a compute capability is called as a compiler's target: sm_90."""
    return f"sm_{capability[0]}{capability[1]}"


def gpu_refusal(capability: tuple[int, int] | None) -> str | None:
    """Why the kernels do not serve a GPU of this ``capability``, None for one of AMD's."""
    if find_spec("triton") is None:
        return "triton is not installed, which the GPU kernels are written in"
    if capability is not None and capability < OLDEST_CAPABILITY:
        own, oldest = (f"{major}.{minor}" for major, minor in (capability, OLDEST_CAPABILITY))
        return f"its compute capability is {own}, and the kernels take {oldest} or later"
    return launcher_refusal()


def launcher_refusal() -> str | None:
    """Why Triton could not compile kernels, and before the first one the C module that launches them."""
    named = os.environ.get("CC")
    if not any(map(shutil.which, ("gcc", "clang") if named is None else (named,))):
        which = "C compiler" if named is None else f"{named!r}, which CC names"
        return f"there is no {which}, with which Triton makes what launches kernels"
    scheme = sysconfig.get_default_scheme().replace("posix_local", "posix_prefix")  # Debian's own, as Triton has it
    header = Path(sysconfig.get_path("include", scheme), "Python.h")
    if not (os.path.exists(header) or os.environ.get("CPATH") or os.environ.get("C_INCLUDE_PATH")):
        return f"there is no {header}, with which Triton makes what launches kernels"
    home = os.environ.get("TRITON_HOME") or os.path.expanduser("~")
    kept = Path(os.environ.get("TRITON_CACHE_DIR") or Path(home, ".triton", "cache"))
    if not os.access(next(folder for folder in (kept, *kept.parents) if os.path.exists(folder)), os.W_OK):
        return f"Triton keeps what it compiles in {kept}, which cannot be written to"
    return None


def installed(package: str) -> str | None:
    """The version of a package, None where it is not installed; nothing is imported."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


@contextmanager
def _driver() -> Generator[Any]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def _visible_handles(nvml: Any) -> list[Any]:
    """CUDA_VISIBLE_DEVICES has numbers or identifiers; the first that is not there ends the list."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = nvml.nvmlDeviceGetCount()
    if chosen is None:
        return [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
    handles: list[Any] = []
    for name in (part.strip() for part in chosen.split(",")):
        try:
            by_number = name.isdigit()
            handle = nvml.nvmlDeviceGetHandleByIndex(int(name)) if by_number else nvml.nvmlDeviceGetHandleByUUID(name)
        except nvml.NVMLError:
            break
        handles.append(handle)
    return handles


def _describe(nvml: Any, handle: Any) -> Gpu:
    total, free = _memory(nvml, handle)
    return Gpu(
        name=nvml.nvmlDeviceGetName(handle),
        driver=nvml.nvmlSystemGetDriverVersion(),
        capability=tuple(nvml.nvmlDeviceGetCudaComputeCapability(handle)),
        total_bytes=total,
        free_bytes=free,
        read_bytes_per_second=_read_rate(nvml, handle),
    )


def _memory(nvml: Any, handle: Any) -> tuple[int, int]:
    """Total and free bytes. The driver tells none of a GPU that has no memory of its own."""
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError:
        return total_memory()[0], available_memory()
    return memory.total, memory.free


def _read_rate(nvml: Any, handle: Any) -> float | None:
    try:
        clock = 1e6 * nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_MEM)
        width = nvml.nvmlDeviceGetMemoryBusWidth(handle) / 8
    except nvml.NVMLError:
        return None
    return TRANSFERS_PER_CLOCK * clock * width or None
