"""Rows of a packed embedding table."""

from __future__ import annotations

from llmrt.ops.native import native
from llmrt.ops.triton import triton
from llmrt.ops.types import Op, reference
from llmrt_kernels.cpu import linear
from llmrt_kernels.reference.linear_packed import embedding_packed

EMBEDDING_PACKED = Op(
    "embedding_packed",
    (triton("embedding_packed", "embedding_packed"), native(linear.embedding), reference(embedding_packed)),
)
