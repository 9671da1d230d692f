"""A gate for whole rows."""

from __future__ import annotations

from llmrt.ops.native import native
from llmrt.ops.triton import triton
from llmrt.ops.types import Activations, Op, reference
from llmrt_kernels.cpu import linear
from llmrt_kernels.reference.gate_rows import gate_rows

GATE_ROWS = Op[..., Activations](
    "gate_rows", (triton("gate_rows", "gate_rows"), native(linear.gate_rows), reference(gate_rows))
)
