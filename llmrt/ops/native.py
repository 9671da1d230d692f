"""The native CPU kernels as candidates."""

from __future__ import annotations

from collections.abc import Callable

import torch

from llmrt.ops.rules import native_kernel_refusal
from llmrt.ops.types import Implementation, OpSpec, P, R


def native(fn: Callable[P, R], dtype: torch.dtype | None = None) -> Implementation[P, R]:
    """A native kernel, for products that take ``dtype`` alone if that is given.

    They hand activations to each other in their own form, so all of a model's ops are native or none is.
    """

    def supports(spec: OpSpec) -> str | None:
        refusal = native_kernel_refusal(spec.case)
        return refusal or (None if dtype in (None, spec.dtype) else f"it is for products of {dtype}")

    return Implementation("cpu", lambda: fn, supports)
