"""Choosing codes and scales natively. The contract is that of the reference."""

from __future__ import annotations

import torch
from torch import Tensor

from llmrt_kernels.cpu.addresses import DTYPES, address
from llmrt_kernels.cpu.structs import QuantizeArgs
from llmrt_kernels.cpu.tape import submit


def quantize(
    weight: Tensor,
    importance: Tensor | None = None,
    directions: Tensor | None = None,
    correction: Tensor | None = None,
    *,
    bits: int,
    group: int,
) -> tuple[Tensor, Tensor]:
    """weight [N, K] of fp32, bf16 or fp16, importance [K], directions and correction [K, R] fp32 -> (data, scales)."""
    rows, columns = weight.shape
    blocks, packed_columns = -(-rows // 16), -(-columns // group) * group
    data = torch.empty(blocks, packed_columns * bits // 32, 64, dtype=torch.uint8)
    scales = torch.empty(blocks, packed_columns // group, 16, dtype=torch.float16)
    rank = 0 if directions is None else directions.shape[1]
    pointers = [address(tensor) for tensor in (weight, importance, directions, correction, data, scales)]
    args = QuantizeArgs(*pointers, rows, columns, packed_columns, rank, DTYPES[weight.dtype], bits, group)
    submit("quantize", args, weight, importance, directions, correction, data, scales)
    return data, scales
