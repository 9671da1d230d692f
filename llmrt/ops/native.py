"""The native CPU kernels as candidates."""

from __future__ import annotations

from collections.abc import Callable

import torch

from llmrt.errors import ConfigError
from llmrt.ops.registry import forced_backend
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


def native(fn: Callable[P, R], dtype: torch.dtype | None = None) -> Implementation[P, R]:
    """A native kernel, for products that take ``dtype`` alone if that is given.

    They hand activations to each other in their own form, so all of a model's ops are native or none is.
    """

    def supports(spec: OpSpec) -> str | None:
        return _refusal(spec) or (None if dtype in (None, spec.dtype) else f"it is for products of {dtype}")

    return Implementation("cpu", lambda: fn, supports)


def native_refusal(spec: OpSpec) -> str | None:
    """Why a model of ``spec`` cannot run on the native kernels, None if it does."""
    forced = forced_backend()
    return f"LLMRT_KERNELS is {forced}" if forced not in (None, "cpu") else _refusal(spec)


def _refusal(spec: OpSpec) -> str | None:
    dtypes = (torch.float32,) if spec.group else (torch.float32, torch.bfloat16)
    if spec.device != "cpu":
        return f"it is for the cpu, not {spec.device}"
    if native_library() is None:
        return NOT_BUILT
    if spec.dtype not in dtypes:
        return f"products take {' or '.join(map(str, dtypes))}, not {spec.dtype}"
    if spec.granule % GRANULE:
        return f"the model's sizes are multiples of {spec.granule} alone; these kernels take multiples of {GRANULE}"
    if not spec.packed:
        return "the weights are not packed, so torch multiplies, and its threads would fight with these"
    return None
