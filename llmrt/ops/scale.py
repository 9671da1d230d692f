"""Multiply numbers, and cap them softly."""

from __future__ import annotations

from llmrt.ops.native import native
from llmrt.ops.triton import triton
from llmrt.ops.types import Op, reference
from llmrt_kernels.cpu import linear
from llmrt_kernels.reference.scale import scale

SCALE = Op("scale", (triton("scale", "scale"), native(linear.scale), reference(scale)))
