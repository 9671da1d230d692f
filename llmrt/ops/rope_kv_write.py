"""Rotate queries and keys, write keys and values to the paged cache.

The contract is the reference's signature and docstring.
"""

from __future__ import annotations

from llmrt.ops.options import QK_LAYER_NORM, ROW_QK_NORM
from llmrt.ops.triton import torch_on_gpu, triton
from llmrt.ops.types import Op, reference
from llmrt_kernels.reference.rope_kv_write import rope_kv_write

ROPE_KV_WRITE = Op(
    "rope_kv_write",
    (
        triton("rope_kv_write", "rope_kv_write", lacks=(QK_LAYER_NORM, ROW_QK_NORM)),
        torch_on_gpu(rope_kv_write),
        reference(rope_kv_write),
    ),
)
