"""What adapters add to a product."""

from __future__ import annotations

from torch import Tensor

from llmrt.ops.native import native
from llmrt.ops.triton import triton
from llmrt.ops.types import Op, reference
from llmrt_kernels.cpu import lora as cpu
from llmrt_kernels.reference.lora import lora

LORA = Op[..., Tensor]("lora", (triton("lora", "lora"), native(cpu.lora), reference(lora)))
