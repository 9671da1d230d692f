"""Rotate queries and keys, write keys and values to the paged cache."""

from __future__ import annotations

from llmrt.ops.triton import triton
from llmrt.ops.types import Op, reference
from llmrt_kernels.reference.rope_kv_write import rope_kv_write

ROPE_KV_WRITE = Op("rope_kv_write", (triton("rope_kv_write", "rope_kv_write"), reference(rope_kv_write)))
