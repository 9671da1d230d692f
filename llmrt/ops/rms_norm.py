"""Normalise the rows that a product takes."""

from __future__ import annotations

from llmrt.ops.native import native_rows
from llmrt.ops.triton import triton
from llmrt.ops.types import Activations, Op, reference
from llmrt_kernels.cpu import linear
from llmrt_kernels.reference.rms_norm import rms_norm

RMS_NORM = Op[..., Activations](
    "rms_norm",
    (
        triton("norm", "rms_norm"),
        *native_rows(linear.rms_norm),
        reference(rms_norm),
    ),
)
