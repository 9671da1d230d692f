"""Where a model runs: on the processor, or on the GPU that torch sees. ROCm's GPUs are "cuda" to torch as well."""

from __future__ import annotations

import torch

from llmrt.config import EngineConfig
from llmrt.engine.hardware.gpus import gpu_refusal, sm_name
from llmrt.engine.hardware.system_memory import available_memory
from llmrt.engine.planning.device import SeenGpu, choose_gpu
from llmrt.engine.planning.memory import usable_memory


def choose_device(asked: str) -> tuple[str, list[str]]:
    """``("cpu" or "cuda", what the person should know)``; a GPU that is chosen is torch's current one from then on.

    Raises ``ConfigError`` for a device that is not there or that the kernels do not serve.
    """
    gpus = _seen_gpus() if asked != "cpu" and torch.cuda.is_available() else []
    current = torch.cuda.current_device() if gpus else 0
    index, notices = choose_gpu(asked, gpus, seen_by=f"torch {torch.__version__}", current=current)
    if index is None:
        return "cpu", notices
    torch.cuda.set_device(index)
    return "cuda", [f"Running on the GPU, {gpus[index].name}."] if asked == "auto" else []


def arch_of(device: str) -> str | None:
    """What the maker of a chosen GPU calls its kind, "sm_90" or "gfx942"; None for the processor."""
    if device == "cpu":
        return None
    if torch.version.hip is not None:
        return torch.cuda.get_device_properties().gcnArchName.split(":")[0]  # gfx942:sramecc+:xnack-
    return sm_name(torch.cuda.get_device_capability())


def free_memory(config: EngineConfig) -> int:
    """Bytes that may be used on a chosen device. Raises ``ConfigError`` or ``MemoryFitError`` for --gpu-memory."""
    return usable_memory(config.gpu_memory, None if config.device == "cpu" else torch.cuda.mem_get_info())


def unused_memory(device: str) -> int:
    """Bytes of a chosen device that nobody uses now."""
    return available_memory() if device == "cpu" else torch.cuda.mem_get_info()[0]


def _seen_gpus() -> list[SeenGpu]:
    rocm = torch.version.hip is not None  # its version, None with CUDA
    return [
        SeenGpu(torch.cuda.get_device_name(i), gpu_refusal(None if rocm else torch.cuda.get_device_capability(i)))
        for i in range(torch.cuda.device_count())
    ]
