"""Attention over the paged KV cache."""

from __future__ import annotations

from llmrt.ops.native import native_rows
from llmrt.ops.triton import triton
from llmrt.ops.types import Activations, Op, reference
from llmrt_kernels.cpu import attention
from llmrt_kernels.reference.paged_attention import paged_attention

PAGED_ATTENTION = Op[..., Activations](
    "paged_attention",
    (
        triton("attention", "paged_attention"),
        *native_rows(attention.paged_attention),
        reference(paged_attention),
    ),
)
