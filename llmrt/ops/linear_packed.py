"""Matrix product with packed weights."""

from __future__ import annotations

from torch import Tensor

from llmrt.ops.native import native
from llmrt.ops.triton import triton
from llmrt.ops.types import Op, reference
from llmrt_kernels.cpu import linear
from llmrt_kernels.reference.linear_packed import linear_packed

LINEAR_PACKED = Op[..., Tensor](
    "linear_packed", (triton("linear", "linear"), native(linear.linear), reference(linear_packed))
)
