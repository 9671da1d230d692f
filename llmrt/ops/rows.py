"""The residual stream as a product takes it."""

from __future__ import annotations

from llmrt.ops.native import native_rows
from llmrt.ops.triton import triton
from llmrt.ops.types import Activations, Op, reference
from llmrt_kernels.cpu import linear
from llmrt_kernels.reference.rows import rows

ROWS = Op[..., Activations](
    "rows",
    (
        triton("codes", "rows"),
        *native_rows(linear.stream_rows),
        reference(rows),
    ),
)
