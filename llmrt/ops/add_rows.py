"""Add rows of a table to the residual stream."""

from __future__ import annotations

from llmrt.ops.native import native
from llmrt.ops.triton import triton
from llmrt.ops.types import Op, reference
from llmrt_kernels.cpu import residual
from llmrt_kernels.reference.add_rows import add_rows

ADD_ROWS = Op("add_rows", (triton("scale", "add_rows"), native(residual.add_rows), reference(add_rows)))
