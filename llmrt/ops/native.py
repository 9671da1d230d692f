"""The native CPU kernels as candidates."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from llmrt.ops.rules import native_kernel_refusal
from llmrt.ops.types import Activations, Implementation, OpSpec, P, R


def native(fn: Callable[P, R]) -> Implementation[P, R]:
    """A native kernel.

    They hand activations to each other in their own form, so all of a model's ops are native or none is.
    """
    return Implementation("cpu", lambda: fn, lambda spec: native_kernel_refusal(spec.case))


def native_rows(fn: Callable[..., Activations]) -> tuple[Implementation[..., Activations], ...]:
    """A native kernel that makes the rows of a product, for products that take fp32 and for those that take bf16."""
    return tuple(_of_type(fn, dtype) for dtype in (torch.float32, torch.bfloat16))


def _of_type(fn: Callable[..., Activations], dtype: torch.dtype) -> Implementation[..., Activations]:
    def supports(spec: OpSpec) -> str | None:
        refusal = native_kernel_refusal(spec.case)
        return refusal or (None if spec.dtype == dtype else f"it is for products of {dtype}")

    return Implementation("cpu", lambda: partial(fn, dtype=dtype), supports)
