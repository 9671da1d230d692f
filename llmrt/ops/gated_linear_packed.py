"""The first half of a gated MLP with packed weights."""

from __future__ import annotations

from llmrt.ops.native import native
from llmrt.ops.triton import triton
from llmrt.ops.types import Activations, Op, reference
from llmrt_kernels.cpu import linear
from llmrt_kernels.reference.linear_packed import gated_linear_packed

GATED_LINEAR_PACKED = Op[..., Activations](
    "gated_linear_packed",
    (
        triton("activated_linear", "gated_linear"),
        native(linear.gated_linear),
        reference(gated_linear_packed),
    ),
)
