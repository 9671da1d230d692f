"""The Triton kernels as candidates. Triton is imported when one of them is chosen, and not before."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from llmrt.ops.rules import triton_refusal
from llmrt.ops.types import Implementation, OpSpec, P, R


def triton(module: str, name: str, *, takes_delta: bool = True) -> Implementation[..., Any]:
    """The launcher ``name`` in ``llmrt_kernels/triton/<module>.py``, of a fused kernel that may take no delta."""

    def load() -> Callable[..., Any]:
        return getattr(import_module(f"llmrt_kernels.triton.{module}"), name)

    def supports(spec: OpSpec) -> str | None:
        return refusal(spec) or ("it takes no LoRA adapters" if spec.adapted and not takes_delta else None)

    return Implementation("triton", load, supports)


def around_triton(formula: Callable[..., Any], module: str, name: str) -> Implementation[..., Any]:
    """``formula`` in torch, its ``product`` that of Triton: for models that the fused kernel does not serve."""

    def load() -> Callable[..., Any]:
        return partial(formula, product=getattr(import_module(f"llmrt_kernels.triton.{module}"), name))

    return Implementation("triton", load, refusal)


def torch_on_gpu(fn: Callable[P, R]) -> Implementation[P, R]:
    """What torch does best on a GPU, as the dense products of its maker's library; it goes with Triton's kernels."""
    return Implementation("triton", lambda: fn, refusal)


def refusal(spec: OpSpec) -> str | None:
    """Why Triton's kernels cannot serve ``spec``; None if they can."""
    return triton_refusal(spec.case)
