"""The residual stream as a product takes it.

The contract is the reference's signature and docstring.
"""

from __future__ import annotations

from llmrt.ops.triton import torch_on_gpu
from llmrt.ops.types import Activations, Op, reference
from llmrt_kernels.reference.rows import rows

ROWS = Op[..., Activations]("rows", (torch_on_gpu(rows), reference(rows)))
