"""Add to the residual stream and normalise.

The contract is the reference's signature and docstring.
"""

from __future__ import annotations

from llmrt.ops.native import native
from llmrt.ops.types import Op, reference
from llmrt_kernels.cpu import elementwise
from llmrt_kernels.reference.rms_norm import add_rms_norm

ADD_RMS_NORM = Op("add_rms_norm", (native(elementwise.add_rms_norm, multiple=16), reference(add_rms_norm)))
