"""Route tokens to experts of packed weights and mix what they give."""

from __future__ import annotations

from torch import Tensor

from llmrt.ops.native import native
from llmrt.ops.triton import triton
from llmrt.ops.types import Op, reference
from llmrt_kernels.cpu import moe
from llmrt_kernels.reference.moe import moe_experts_packed

MOE_EXPERTS_PACKED = Op[..., Tensor](
    "moe_experts_packed",
    (
        triton("moe", "moe_experts"),
        native(moe.moe_experts),
        reference(moe_experts_packed),
    ),
)
