"""Rows of the embedding table."""

from __future__ import annotations

from llmrt.ops.triton import torch_on_gpu
from llmrt.ops.types import Op, reference
from llmrt_kernels.reference.embedding import embedding

EMBEDDING = Op("embedding", (torch_on_gpu(embedding), reference(embedding)))
