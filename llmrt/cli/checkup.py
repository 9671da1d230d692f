"""What there is to know of this machine before a model runs on it. Torch is imported where it is installed."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from llmrt import __version__
from llmrt.engine.hardware.gpus import Gpu, installed, visible_gpus
from llmrt.engine.hardware.limits import Limits, processor_limits
from llmrt.engine.hardware.processor import processor_name
from llmrt.engine.hardware.system_memory import available_memory, total_memory
from llmrt.engine.hardware.threads import usable_cores
from llmrt.hub import store
from llmrt.hub.disk import existing_parent
from llmrt.hub.prompts import prompts_bytes
from llmrt.ops.rules import NOT_BUILT, forced_backend, native_library

if TYPE_CHECKING:
    from llmrt.ops.catalogue import Choice

PACKAGES = ("torch", "triton", "numpy", "tokenizers", "llguidance", "huggingface_hub")
PYTHON_HEADERS = "python{}.{}-dev".format(*sys.version_info)
SECRETS = ("KEY", "TOKEN", "SECRET", "PASSWORD")
OTHER_VARIABLES = ("HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_TOKEN", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """The native library; ``isas`` are those that it and the processor share, best first."""

    path: str | None
    isa: str | None
    isas: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Store:
    """Where pulled models are; bytes of those, of what is kept of prompts, and free on that disk."""

    path: str
    num_models: int
    num_bytes: int
    prompts_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class Problem:
    """Something that makes models run slowly, or not at all, and what to do about it."""

    what: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Checkup:
    """``memory_bytes`` are those that this process may use, under the limit of a control group if they are limited.

    ``ops`` has what would run each operation: of weights as they are stored, and of quantized ones."""

    llmrt: str
    python: str
    system: str
    processor: str
    cores: int | None
    logical_cores: int | None
    usable_cores: int
    memory_bytes: int
    memory_is_limited: bool
    available_bytes: int
    limits: Limits | None
    kernels: Kernels
    gpus: tuple[Gpu, ...]
    packages: dict[str, str | None]
    device: str | None
    ops: dict[str, tuple[Choice, ...]]
    store: Store
    variables: dict[str, str]
    problems: tuple[Problem, ...]


def check_up() -> Checkup:
    """Look at everything. Raises ``ConfigError`` for an environment variable that cannot work."""
    gpus, packages, kernels = visible_gpus(), {name: installed(name) for name in PACKAGES}, _kernels()
    memory, is_limited = total_memory()
    device = _device() if packages["torch"] else None
    return Checkup(
        llmrt=__version__,
        python=platform.python_version(),
        system=platform.platform(),
        processor=processor_name(),
        cores=psutil.cpu_count(logical=False),
        logical_cores=psutil.cpu_count(),
        usable_cores=usable_cores(),
        memory_bytes=memory,
        memory_is_limited=is_limited,
        available_bytes=available_memory(),
        limits=processor_limits("int8"),
        kernels=kernels,
        gpus=tuple(gpus),
        packages=packages,
        device=device,
        ops=_ops(device) if device else {},
        store=_store(),
        variables=_variables(),
        problems=tuple(_problems(kernels, gpus, packages)),
    )


def _kernels() -> Kernels:
    library = native_library()
    if library is None:
        return Kernels(path=None, isa=None, isas=())
    return Kernels(path=str(library.path), isa=library.isa, isas=tuple(library.available_isas))


def _device() -> str:
    from llmrt.engine.planning.placement import choose_device

    return choose_device("auto")[0]


def _ops(device: str) -> dict[str, tuple[Choice, ...]]:
    """Of a model whose sizes the kernels like."""
    import torch

    from llmrt.ops.catalogue import choices
    from llmrt.ops.rules import Case, native_refusal
    from llmrt.ops.types import OpSpec

    in_blocks = native_refusal(Case(device, "fp32")) is None
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    stored, quantized = OpSpec(device, dtype, in_blocks=in_blocks), OpSpec(device, dtype, group=64)
    return {"as stored": tuple(choices(stored)), "quantized": tuple(choices(quantized))}


def _store() -> Store:
    folder, manifests = store.home(), store.load_all()
    free = shutil.disk_usage(existing_parent(folder)).free
    size = sum(manifest.num_bytes for manifest in manifests)
    return Store(
        path=str(folder),
        num_models=len(manifests),
        num_bytes=size,
        prompts_bytes=prompts_bytes(),
        free_bytes=free,
    )


def _variables() -> dict[str, str]:
    """Those in force; of a secret only that it is set."""
    names = sorted(name for name in os.environ if name.startswith("LLMRT_") or name in OTHER_VARIABLES)
    return {name: "(set)" if any(word in name for word in SECRETS) else os.environ[name] for name in names}


def _problems(kernels: Kernels, gpus: list[Gpu], packages: dict[str, str | None]) -> Iterator[Problem]:
    if packages["torch"] is None:
        yield Problem("torch is not installed, so no model runs", "run: pip install torch")
    for gpu in gpus:
        if gpu.refusal is not None:
            yield Problem(f"the GPU, {gpu.name}, is not used: {gpu.refusal}", _gpu_remedy(gpu.refusal))
    if (forced := forced_backend()) is not None:
        yield Problem(f"LLMRT_KERNELS is {forced}, which keeps faster kernels out", "unset LLMRT_KERNELS")
    if kernels.path is None:
        remedy = "install a C++ compiler (apt install g++), then: pip install --force-reinstall --no-deps llmrt"
        yield Problem(f"{NOT_BUILT}, and the processor computes with torch, slowly", remedy)
    elif "LLMRT_ISA" in os.environ and kernels.isa != kernels.isas[0]:
        yield Problem(f"LLMRT_ISA is {kernels.isa}, but this processor has {kernels.isas[0]}", "unset LLMRT_ISA")
    elif kernels.isa == "generic":
        yield Problem("this processor has no vector instructions that the kernels know", "use another machine")


def _gpu_remedy(refusal: str) -> str:
    if "cannot be written to" in refusal:
        return "set TRITON_CACHE_DIR to a folder that can be"
    if "launches" in refusal:
        return "unset CC, or name a C compiler" if "CC names" in refusal else f"run: apt install gcc {PYTHON_HEADERS}"
    if "torch" in refusal:
        return "install a torch that is built for it: https://pytorch.org/get-started/locally"
    if "triton" in refusal:
        return "run: pip install 'llmrt[gpu]'"
    return "models run on the processor; a newer GPU is needed"
