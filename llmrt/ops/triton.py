"""The Triton kernels as candidates. Triton is imported when one of them is chosen, and not before."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from llmrt.ops.types import Implementation, OpSpec, P, R

GRANULE = 16  # rows of a packed block: a gate's, an expert's and a head's begin a block
NOT_INSTALLED = "Triton is not installed; `pip install 'llmrt[gpu]'` does it on Linux"


def triton(module: str, name: str) -> Implementation[..., Any]:
    """The launcher ``name`` in ``llmrt_kernels/triton/<module>.py``."""

    def load() -> Callable[..., Any]:
        return getattr(import_module(f"llmrt_kernels.triton.{module}"), name)

    return Implementation("triton", load, refusal)


def torch_on_gpu(fn: Callable[P, R]) -> Implementation[P, R]:
    """What torch does best on a GPU, as the dense products of its maker's library; it goes with Triton's kernels."""
    return Implementation("triton", lambda: fn, refusal)


def refusal(spec: OpSpec) -> str | None:
    """Why Triton's kernels cannot serve ``spec``; None if they can. Its interpreter runs them on a CPU, for tests."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if spec.device != "cuda" and not interpreted:
        return f"it is for a GPU, not the {spec.device}"
    if spec.in_blocks:
        return "the matrices are in blocks of rows, for the native kernels"
    if spec.packed and spec.granule % GRANULE:
        return f"packed sizes are multiples of {GRANULE} here, and this model's of {spec.granule} alone"
    if find_spec("triton") is None:
        return NOT_INSTALLED
    return None
