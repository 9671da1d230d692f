"""Queries, and keys and values to the cache, with packed weights."""

from __future__ import annotations

from torch import Tensor

from llmrt.ops.native import native
from llmrt.ops.triton import triton
from llmrt.ops.types import Op, reference
from llmrt_kernels.cpu import linear
from llmrt_kernels.reference.linear_packed import rotary_linear_packed

ROTARY_LINEAR_PACKED = Op[..., Tensor](
    "rotary_linear_packed",
    (
        triton("rotary_linear", "rotary_linear"),
        native(linear.rotary_linear),
        reference(rotary_linear_packed),
    ),
)
