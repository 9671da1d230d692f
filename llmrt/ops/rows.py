"""The residual stream as a product takes it.

The contract is the reference's signature and docstring.
"""

from __future__ import annotations

from functools import partial

import torch

from llmrt.ops.native import native
from llmrt.ops.triton import triton
from llmrt.ops.types import Activations, Op, reference
from llmrt_kernels.cpu import linear
from llmrt_kernels.reference.rows import rows

ROWS = Op[..., Activations](
    "rows",
    (
        triton("codes", "rows"),
        native(linear.stream_rows, torch.float32),
        native(partial(linear.stream_rows, dtype=torch.bfloat16), torch.bfloat16),
        reference(rows),
    ),
)
