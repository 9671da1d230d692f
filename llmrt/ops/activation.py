"""What an MLP without a gate does between its products."""

from __future__ import annotations

from llmrt.ops.triton import torch_on_gpu
from llmrt.ops.types import Op, reference
from llmrt_kernels.reference.activation import activation

ACTIVATION = Op("activation", (torch_on_gpu(activation), reference(activation)))
