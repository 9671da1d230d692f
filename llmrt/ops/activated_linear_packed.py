"""The first half of an MLP without a gate, with packed weights."""

from __future__ import annotations

from llmrt.ops.native import native
from llmrt.ops.triton import triton
from llmrt.ops.types import Activations, Op, reference
from llmrt_kernels.cpu import linear
from llmrt_kernels.reference.linear_packed import activated_linear_packed

ACTIVATED_LINEAR_PACKED = Op[..., Activations](
    "activated_linear_packed",
    (
        triton("activated_linear", "activated_linear"),
        native(linear.activated_linear),
        reference(activated_linear_packed),
    ),
)
