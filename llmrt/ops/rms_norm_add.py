"""Normalise what is added to the residual stream."""

from __future__ import annotations

from llmrt.ops.native import native
from llmrt.ops.triton import triton
from llmrt.ops.types import Op, reference
from llmrt_kernels.cpu import linear
from llmrt_kernels.reference.rms_norm_add import rms_norm_add

RMS_NORM_ADD = Op(
    "rms_norm_add", (triton("norm", "rms_norm_add"), native(linear.rms_norm_add), reference(rms_norm_add))
)
