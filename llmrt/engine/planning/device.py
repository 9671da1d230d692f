"""What ``--device`` stands for among the GPUs that are seen. Free of torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from llmrt.errors import ConfigError


class SeenGpu(NamedTuple):
    """A GPU, and why models cannot run on it, None if they can."""

    name: str
    refusal: str | None


def choose_gpu(asked: str, gpus: Sequence[SeenGpu], *, seen_by: str, current: int = 0) -> tuple[int | None, list[str]]:
    """The index of the GPU, None for the processor, and what is to be said about it. "cuda" is the ``current`` one.

    Raises ``ConfigError`` for a device that is not there or that the kernels do not serve.
    """
    match = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", asked)
    if match is None:
        raise ConfigError(f"--device is {asked!r}; it must be one of auto, cpu, cuda, cuda:N.")
    if asked == "cpu" or (asked == "auto" and not gpus):
        return None, []
    index = int(match[1] or current)
    if index >= len(gpus):
        seen = f"{len(gpus)} GPUs, from cuda:0 on" if gpus else "no GPU. Use cpu"
        raise ConfigError(f"--device is {asked}, but {seen_by} sees {seen}.")
    gpu = gpus[index]
    if gpu.refusal is None:
        return index, []
    if asked == "auto":
        return None, [f"The GPU, {gpu.name}, is not used: {gpu.refusal}."]
    raise ConfigError(f"--device is {asked}, but {gpu.name} cannot be used: {gpu.refusal}. Use cpu.")
