"""Products with packed int4 and int8 weights: w = scale * (code - zero), rows in blocks of 16.

bits 4   data [N/16, K/8, 64]: byte 4i+c of line j has row i's code for k = 8j+c (low) and 8j+4+c (high nibble)
bits 8   data [N/16, K/4, 64]: byte 4i+c of line j has row i's code for k = 4j+c
scales   [N/16, K/G, 16] fp16; zeros the same in uint8, or None where every zero is 8 (bits 4) or 128 (bits 8)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def unpack_codes(data: Tensor, bits: int) -> Tensor:
    """The codes of a packed weight, [N padded to 16, K padded to the group] uint8."""
    lines = data.unflatten(2, (16, 4))  # block, line, row, column
    if bits == 4:
        lines = torch.stack((lines & 15, lines >> 4), dim=3).flatten(3)
    return lines.transpose(1, 2).flatten(2).flatten(0, 1)


def dequantize(data: Tensor, scales: Tensor, zeros: Tensor | None, *, bits: int, group: int) -> Tensor:
    """The weight that is meant, [N padded to 16, K padded to the group] fp32."""
    codes = unpack_codes(data, bits).float().unflatten(1, (-1, group))
    scale = scales.transpose(1, 2).flatten(0, 1).float().unsqueeze(2)
    if zeros is None:
        return ((codes - (1 << (bits - 1))) * scale).flatten(1)
    return ((codes - zeros.transpose(1, 2).flatten(0, 1).float().unsqueeze(2)) * scale).flatten(1)


def linear_packed(
    x: Tensor,
    data: Tensor,
    scales: Tensor,
    zeros: Tensor | None,
    bias: Tensor | None,
    out: Tensor,
    *,
    bits: int,
    group: int,
) -> None:
    """Write x W^T + b into ``out``. x [T, K], out [T, N], which may be a column range of a wider tensor; bias [N]."""
    weight = dequantize(data, scales, zeros, bits=bits, group=group)[: out.shape[1], : x.shape[1]]
    out.copy_(F.linear(x, weight.to(x.dtype), bias))


def embedding_packed(token_ids: Tensor, data: Tensor, scales: Tensor, hidden_size: int, *, group: int) -> Tensor:
    """Rows of an int8 table. token_ids [T] int64 -> [T, hidden_size] fp32."""
    return dequantize(data, scales, None, bits=8, group=group)[token_ids, :hidden_size]
