"""Normalise the rows that a product takes, mean and variance.

The contract is the reference's signature and docstring.
"""

from __future__ import annotations

from functools import partial

import torch

from llmrt.ops.native import native
from llmrt.ops.triton import triton
from llmrt.ops.types import Activations, Op, reference
from llmrt_kernels.cpu import linear
from llmrt_kernels.reference.layer_norm import layer_norm

LAYER_NORM = Op[..., Activations](
    "layer_norm",
    (
        triton("norm", "layer_norm"),
        native(linear.layer_norm, torch.float32),
        native(partial(linear.layer_norm, dtype=torch.bfloat16), torch.bfloat16),
        reference(layer_norm),
    ),
)
