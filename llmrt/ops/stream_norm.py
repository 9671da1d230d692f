"""LayerNorm of the residual stream, which stays one: what ``layer_norm`` gives is for a product."""

from __future__ import annotations

from llmrt.ops.native import native
from llmrt.ops.triton import triton
from llmrt.ops.types import Op, reference
from llmrt_kernels.cpu import residual
from llmrt_kernels.reference.layer_norm import layer_norm

STREAM_NORM = Op("stream_norm", (triton("norm", "layer_norm"), native(residual.stream_norm), reference(layer_norm)))
