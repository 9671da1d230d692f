"""Drawing the next token from logits."""

from __future__ import annotations

from llmrt.ops.triton import triton
from llmrt.ops.types import Op, reference
from llmrt_kernels.reference.sample import sample

SAMPLE = Op("sample", (triton("sample", "sample"), reference(sample)))
