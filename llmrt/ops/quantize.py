"""Choosing codes and scales for a weight."""

from __future__ import annotations

from llmrt.ops.native import native
from llmrt.ops.triton import triton
from llmrt.ops.types import Op, reference
from llmrt_kernels.cpu import quantize as cpu
from llmrt_kernels.reference.quantize import quantize

QUANTIZE = Op("quantize", (native(cpu.quantize), triton("quantize", "quantize"), reference(quantize)))
