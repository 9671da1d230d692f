"""The likeliest token."""

from __future__ import annotations

from llmrt.ops.native import native
from llmrt.ops.triton import triton
from llmrt.ops.types import Op, reference
from llmrt_kernels.cpu import argmax as cpu
from llmrt_kernels.reference.argmax import argmax

ARGMAX = Op("argmax", (triton("argmax", "argmax"), native(cpu.argmax), reference(argmax)))
