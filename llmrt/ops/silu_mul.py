"""The gate of SwiGLU.

The contract is the reference's signature and docstring.
"""

from __future__ import annotations

from llmrt.ops.triton import triton
from llmrt.ops.types import Op, reference
from llmrt_kernels.reference.silu_mul import silu_mul

SILU_MUL = Op("silu_mul", (triton("silu_mul", "silu_mul"), reference(silu_mul)))
