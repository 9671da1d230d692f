"""The gate of an MLP."""

from __future__ import annotations

from llmrt.ops.triton import triton
from llmrt.ops.types import Op, reference
from llmrt_kernels.reference.activation import gated_activation

GATED_ACTIVATION = Op("gated_activation", (triton("activation", "gated_activation"), reference(gated_activation)))
