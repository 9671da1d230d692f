"""Normalise the rows that a product takes, mean and variance."""

from __future__ import annotations

from llmrt.ops.native import native_rows
from llmrt.ops.triton import triton
from llmrt.ops.types import Activations, Op, reference
from llmrt_kernels.cpu import linear
from llmrt_kernels.reference.layer_norm import layer_norm

LAYER_NORM = Op[..., Activations](
    "layer_norm",
    (
        triton("norm", "layer_norm"),
        *native_rows(linear.layer_norm),
        reference(layer_norm),
    ),
)
