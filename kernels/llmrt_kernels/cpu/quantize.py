"""Choosing codes and scales natively. The contract is that of the reference."""

from __future__ import annotations

import torch
from torch import Tensor

from llmrt_kernels.cpu.structs import QuantizeArgs, address
from llmrt_kernels.cpu.tape import submit


def quantize(weight: Tensor, *, bits: int, group: int) -> tuple[Tensor, Tensor]:
    """weight [N, K] fp32 -> packed (data, scales)."""
    rows, columns = weight.shape
    blocks, packed_columns = -(-rows // 16), -(-columns // group) * group
    data = torch.empty(blocks, packed_columns * bits // 32, 64, dtype=torch.uint8)
    scales = torch.empty(blocks, packed_columns // group, 16, dtype=torch.float16)
    args = QuantizeArgs(address(weight), address(data), address(scales), rows, columns, packed_columns, bits, group)
    submit("quantize", args, weight, data, scales)
    return data, scales
