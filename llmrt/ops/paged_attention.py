"""Attention over the paged KV cache.

The contract is the reference's signature and docstring.
"""

from __future__ import annotations

from functools import partial

import torch

from llmrt.ops.native import native
from llmrt.ops.triton import triton
from llmrt.ops.types import Activations, Op, reference
from llmrt_kernels.cpu import attention
from llmrt_kernels.reference.paged_attention import paged_attention

PAGED_ATTENTION = Op[..., Activations](
    "paged_attention",
    (
        triton("attention", "paged_attention"),
        native(attention.paged_attention, torch.float32),
        native(partial(attention.paged_attention, dtype=torch.bfloat16), torch.bfloat16),
        reference(paged_attention),
    ),
)
