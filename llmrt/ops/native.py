"""The native CPU kernels as candidates."""

from __future__ import annotations

from collections.abc import Callable

import torch

from llmrt.errors import ConfigError
from llmrt.ops.types import Implementation, OpSpec, P, R
from llmrt_kernels.cpu.library import Library, load

NOT_BUILT = "llmrt was installed without a C++ compiler, so its native kernels are missing"


def native_library() -> Library | None:
    """The kernels, None where they were not built. Raises ``ConfigError`` for an ``LLMRT_ISA`` that is not there."""
    try:
        return load()
    except ValueError as error:
        raise ConfigError(str(error)) from None


def native(fn: Callable[P, R], *, multiple: int = 1) -> Implementation[P, R]:
    """A native kernel; ``multiple`` divides the sizes that it serves."""

    def supports(spec: OpSpec) -> str | None:
        if spec.device != "cpu":
            return f"it is for the cpu, not {spec.device}"
        if native_library() is None:
            return NOT_BUILT
        if not spec.packed:
            return "the weights are not quantized, so torch multiplies, and its threads would fight with these"
        if spec.dtype != torch.float32:
            return f"activations are fp32, not {spec.dtype}"
        if spec.size % multiple:
            return f"{spec.size} is not a multiple of {multiple}"
        return None

    return Implementation("cpu", fn, supports)
