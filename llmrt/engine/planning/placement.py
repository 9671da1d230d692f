"""Where a model runs: on the processor, or on the GPU that torch sees. ROCm's GPUs are "cuda" to torch as well."""

from __future__ import annotations

import re

import torch

from llmrt.config import EngineConfig
from llmrt.engine.hardware.gpus import gpu_refusal
from llmrt.engine.hardware.system_memory import available_memory
from llmrt.engine.planning.memory import gpu_share
from llmrt.errors import ConfigError


def choose_device(asked: str) -> tuple[str, list[str]]:
    """``("cpu" or "cuda", what the person should know)``; a GPU that is chosen is torch's current one from then on.

    Raises ``ConfigError`` for a device that is not there or that the kernels do not serve.
    """
    match = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", asked)
    if match is None:
        raise ConfigError(f"--device is {asked!r}; it must be one of auto, cpu, cuda, cuda:N.")
    if asked == "cpu" or (asked == "auto" and not torch.cuda.is_available()):
        return "cpu", []
    if not torch.cuda.is_available():
        raise ConfigError(f"--device is {asked}, but torch {torch.__version__} sees no GPU. Use cpu.")
    index = int(match[1]) if match[1] else torch.cuda.current_device()
    if index >= torch.cuda.device_count():
        raise ConfigError(f"--device is {asked}, but torch sees {torch.cuda.device_count()} GPUs, from cuda:0 on.")
    return _gpu(asked, index)


def free_memory(config: EngineConfig) -> int:
    """Bytes that may be used on a chosen device. Raises ``ConfigError`` or ``MemoryFitError`` for --gpu-memory."""
    if config.device == "cpu":
        if config.gpu_memory is not None:
            raise ConfigError(f"--gpu-memory is {config.gpu_memory:g}, but the model runs on the cpu; leave it out.")
        return available_memory()
    return gpu_share(config.gpu_memory, *torch.cuda.mem_get_info())


def unused_memory(device: str) -> int:
    """Bytes of a chosen device that nobody uses now."""
    return available_memory() if device == "cpu" else torch.cuda.mem_get_info()[0]


def _gpu(asked: str, index: int) -> tuple[str, list[str]]:
    name, refusal = torch.cuda.get_device_name(index), _refusal(index)
    if refusal is None:
        torch.cuda.set_device(index)
        return "cuda", [f"Running on the GPU, {name}."] if asked == "auto" else []
    if asked == "auto":
        return "cpu", [f"The GPU, {name}, is not used: {refusal}."]
    raise ConfigError(f"--device is {asked}, but {name} cannot be used: {refusal}. Use cpu.")


def _refusal(index: int) -> str | None:
    rocm = torch.version.hip is not None  # its version, None with CUDA
    return gpu_refusal(None if rocm else torch.cuda.get_device_capability(index))
