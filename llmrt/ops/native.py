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


GRANULE = 16  # the lanes that kernels compute at a time


def native(fn: Callable[P, R]) -> Implementation[P, R]:
    """A native kernel. They hand int8 activations to each other, so all of a model's ops are native or none is."""

    def supports(spec: OpSpec) -> str | None:
        if spec.device != "cpu":
            return f"it is for the cpu, not {spec.device}"
        if native_library() is None:
            return NOT_BUILT
        if not spec.packed:
            return "the weights are not quantized, so torch multiplies, and its threads would fight with these"
        if spec.dtype != torch.float32:
            return f"activations are fp32, not {spec.dtype}"
        if spec.granule % GRANULE:
            return f"the model's sizes are multiples of {spec.granule} alone; these kernels take multiples of {GRANULE}"
        return None

    return Implementation("cpu", fn, supports)
