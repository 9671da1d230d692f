"""Add rows of a table to the residual stream.

The contract is the reference's signature and docstring.
"""

from __future__ import annotations

from llmrt.ops.native import native
from llmrt.ops.triton import torch_on_gpu
from llmrt.ops.types import Op, reference
from llmrt_kernels.cpu import residual
from llmrt_kernels.reference.add_rows import add_rows

ADD_ROWS = Op("add_rows", (torch_on_gpu(add_rows), native(residual.add_rows), reference(add_rows)))
