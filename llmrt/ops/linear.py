"""Dense matrix product."""

from __future__ import annotations

from llmrt.ops.triton import torch_on_gpu
from llmrt.ops.types import Op, reference
from llmrt_kernels.reference.linear import linear

LINEAR = Op("linear", (torch_on_gpu(linear), reference(linear)))
