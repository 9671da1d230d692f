"""Route tokens to experts and mix what they give."""

from __future__ import annotations

from llmrt.ops.triton import triton
from llmrt.ops.types import Op, reference
from llmrt_kernels.reference.moe import moe_experts

MOE_EXPERTS = Op("moe_experts", (triton("moe_dense", "moe_experts"), reference(moe_experts)))
