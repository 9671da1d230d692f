"""Which kernels serve a model. Free of torch, so that it can be known before a model is there."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Generic, TypeVar

from llmrt.errors import ConfigError
from llmrt_kernels.cpu.library import Library, load

BACKENDS = ("triton", "cpu", "reference")
# Lanes that native kernels compute at a time; rows of a packed block, which a gate's, an expert's and a head's begin.
GRANULE = 16
NOT_BUILT = "llmrt was installed without a C++ compiler, so its native kernels are missing"
NOT_INSTALLED = "Triton is not installed; `pip install 'llmrt[gpu]'` does it on Linux"


Dtype = TypeVar("Dtype")


@dataclass(frozen=True)
class Spec(Generic[Dtype]):
    """What decides which kernels serve: ``device`` as torch names its type, and the ``dtype`` of activations.

    ``group`` activations share a scale where matrices are quantized and products take int8; 0 where nothing is.
    ``granule`` divides every size of the model, and half of its head dimension on a CPU. ``in_blocks`` says that
    matrices which are not quantized are packed as well, in blocks of rows for the native kernels; ``dtype`` is then
    that of a product's inputs, and everything else is fp32.
    """

    device: str
    dtype: Dtype
    group: int = 0
    granule: int = 16
    in_blocks: bool = False

    @property
    def packed(self) -> bool:
        """Whether the model's matrices are packed."""
        return self.group > 0 or self.in_blocks


class Case(Spec[str]):
    """One whose ``dtype`` is a name, for what is asked without torch."""


def forced_backend() -> str | None:
    """What ``LLMRT_KERNELS`` names, None for nothing. Raises ``ConfigError`` if there is no such backend."""
    forced = os.environ.get("LLMRT_KERNELS")
    if forced is not None and forced not in BACKENDS:
        raise ConfigError(f"LLMRT_KERNELS is {forced!r}; it must be one of {', '.join(BACKENDS)}.")
    return forced


def native_library() -> Library | None:
    """The kernels, None where they were not built.

    Raises ``ConfigError`` for an ``LLMRT_ISA`` that is not there, and for a library of another version.
    """
    try:
        return load()
    except ValueError as error:
        raise ConfigError(str(error)) from None


def native_refusal(case: Case) -> str | None:
    """Why a model cannot run on the native kernels once its weights are packed, None if it does."""
    forced = forced_backend()
    if forced not in (None, "cpu"):
        return f"LLMRT_KERNELS is {forced}"
    return native_kernel_refusal(case if case.packed else replace(case, in_blocks=True))


def native_kernel_refusal(case: Case) -> str | None:
    """Why a native kernel does not serve ``case`` as it is."""
    dtypes = ("fp32",) if case.group else ("fp32", "bf16")
    if case.device != "cpu":
        return f"it is for the cpu, not {case.device}"
    if native_library() is None:
        return NOT_BUILT
    if case.dtype not in dtypes:
        return f"products take {' or '.join(dtypes)}, not {case.dtype}"
    if case.granule % GRANULE:
        return f"the model's sizes are multiples of {case.granule} alone; these kernels take multiples of {GRANULE}"
    if not case.packed:
        return "the weights are not packed, so torch multiplies, and its threads would fight with these"
    return None


def triton_refusal(case: Case) -> str | None:
    """Why Triton's kernels do not serve ``case``. Its interpreter runs them on a CPU, for tests."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if case.device != "cuda" and not interpreted:
        return f"it is for a GPU, not the {case.device}"
    if case.in_blocks:
        return "the matrices are in blocks of rows, for the native kernels"
    if case.packed and case.granule % GRANULE:
        return f"packed sizes are multiples of {GRANULE} here, and this model's of {case.granule} alone"
    if find_spec("triton") is None:
        return NOT_INSTALLED
    return None


def byte_cache_refusal(case: Case, kv_dtype: str, block_size: int) -> str | None:
    """Why there can be no KV cache of int8 or fp8: the CPU's kernels serve int8 alone, torch's attention neither."""
    forced = forced_backend()
    reasons = {"triton": triton_refusal(case)}
    if kv_dtype == "int8":
        reasons["cpu"] = native_kernel_refusal(case)
    if any(reason is None and forced in (None, backend) for backend, reason in reasons.items()):
        return f"its blocks hold {block_size} tokens, no multiple of 16" if block_size % 16 else None
    own = reasons["cpu"] if case.device == "cpu" and "cpu" in reasons else reasons["triton"]
    return own or f"LLMRT_KERNELS is {forced}"
