"""Where a model runs: on the processor, or on the GPU that torch sees. ROCm's GPUs are "cuda" to torch as well."""

from __future__ import annotations

import re
from importlib.util import find_spec

import torch

from llmrt.config import EngineConfig
from llmrt.engine.memory import available_memory, gpu_share
from llmrt.errors import ConfigError

OLDEST_CAPABILITY = (8, 0)  # NVIDIA's Ampere, the first with bf16, which the kernels are compiled for


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


def _gpu(asked: str, index: int) -> tuple[str, list[str]]:
    name, refusal = torch.cuda.get_device_name(index), _refusal(index)
    if refusal is None:
        torch.cuda.set_device(index)
        return "cuda", [f"Running on the GPU, {name}."] if asked == "auto" else []
    if asked == "auto":
        return "cpu", [f"The GPU, {name}, is not used: {refusal}."]
    raise ConfigError(f"--device is {asked}, but {name} cannot be used: {refusal}. Use cpu.")


def _refusal(index: int) -> str | None:
    if find_spec("triton") is None:
        return "triton is not installed, which the GPU kernels are written in"
    capability = torch.cuda.get_device_capability(index)
    if torch.version.hip is None and capability < OLDEST_CAPABILITY:  # the version of ROCm, None with CUDA
        own, oldest = (f"{major}.{minor}" for major, minor in (capability, OLDEST_CAPABILITY))
        return f"its compute capability is {own}, and the kernels take {oldest} or later"
    return None
