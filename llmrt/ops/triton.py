"""The Triton kernels as candidates. Triton is imported when one of them is chosen, and not before."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from llmrt.ops.rules import triton_refusal
from llmrt.ops.types import Implementation, OpSpec, P, R


def triton(module: str, name: str) -> Implementation[..., Any]:
    """The launcher ``name`` in ``llmrt_kernels/triton/<module>.py``."""

    def load() -> Callable[..., Any]:
        return getattr(import_module(f"llmrt_kernels.triton.{module}"), name)

    return Implementation("triton", load, refusal)


def torch_on_gpu(fn: Callable[P, R]) -> Implementation[P, R]:
    """What torch does as well on a GPU as a kernel of ours would; it goes with Triton's kernels."""
    return Implementation("triton", lambda: fn, refusal)


def refusal(spec: OpSpec) -> str | None:
    """Why Triton's kernels cannot serve ``spec``; None if they can."""
    return triton_refusal(spec.case)
