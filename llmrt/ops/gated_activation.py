"""The gate of an MLP, by another function than silu.

The contract is the reference's signature and docstring.
"""

from __future__ import annotations

from llmrt.ops.triton import torch_on_gpu
from llmrt.ops.types import Op, reference
from llmrt_kernels.reference.activation import gated_activation

GATED_ACTIVATION = Op("gated_activation", (torch_on_gpu(gated_activation), reference(gated_activation)))
