"""Add a multiple to the residual stream."""

from __future__ import annotations

from llmrt.ops.native import native
from llmrt.ops.triton import triton
from llmrt.ops.types import Op, reference
from llmrt_kernels.cpu import residual
from llmrt_kernels.reference.add_scaled import add_scaled

ADD_SCALED = Op("add_scaled", (triton("scale", "add_scaled"), native(residual.add_scaled), reference(add_scaled)))
