"""Choosing codes and scales, symmetric: w = scale * (code - zero), zero 8 for 4 bits and 128 for 8.

    bits 8   scale = largest / 127
    bits 4   with e the value of largest magnitude in a group, the codes l = round(-(8 + d) / e * x), cut to -8..7, are
             tried for 19 values of d in -0.9..0.9; for given codes the scale sum(v x l) / sum(v l^2) takes
             sum(v x l)^2 / sum(v l^2) off the error sum(v (x - scale l)^2), and the candidate that takes most is kept.
             v = x^2.

Scales are rounded to fp16 before the final codes are chosen.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CANDIDATES = [0.1 * i for i in range(-9, 10)]
BLOCK = 16


def quantize(weight: Tensor, *, bits: int, group: int) -> tuple[Tensor, Tensor]:
    """weight [N, K] -> (data, scales) as ``linear_packed`` reads them."""
    rows, columns = weight.shape
    padded = F.pad(weight.float(), (0, -columns % group, 0, -rows % BLOCK)).unflatten(1, (-1, group))
    scale = _searched(padded) if bits == 4 else padded.abs().amax(-1, keepdim=True) / 127
    scale = scale.half().float()
    codes = torch.where(scale == 0, 0.0, padded / scale).round()
    low, high, zero = (-8, 7, 8) if bits == 4 else (-127, 127, 128)
    data = pack_codes((codes.clamp(low, high) + zero).to(torch.uint8).flatten(1), bits)
    return data, scale.squeeze(-1).unflatten(0, (-1, BLOCK)).transpose(1, 2).half().contiguous()


def _searched(x: Tensor) -> Tensor:
    extreme = x.gather(-1, x.abs().argmax(-1, keepdim=True))
    unit = torch.where(extreme == 0, 0.0, x / extreme)
    best_gain, best_scale = torch.full_like(extreme, -1.0), torch.zeros_like(extreme)
    for d in CANDIDATES:
        codes = (-(8 + d) * unit).clamp(-8, 7).round()
        numerator = (unit**3 * codes).sum(-1, keepdim=True)
        denominator = (unit**2 * codes**2).sum(-1, keepdim=True)
        gain = torch.where(denominator > 0, numerator**2 / denominator, -1.0)
        scale = torch.where(denominator > 0, numerator / denominator, 0.0) * extreme
        best_scale = torch.where(gain > best_gain, scale, best_scale)
        best_gain = torch.maximum(gain, best_gain)
    return best_scale


def pack_codes(codes: Tensor, bits: int) -> Tensor:
    """codes [N, K] uint8, N a multiple of 16 -> lines of 64 bytes, see ``linear_packed``."""
    blocks = codes.unflatten(0, (-1, BLOCK))
    if bits == 4:
        low, high = blocks.unflatten(2, (-1, 2, 4)).unbind(3)
        lines = low | (high << 4)
    else:
        lines = blocks.unflatten(2, (-1, 4))
    return lines.transpose(1, 2).flatten(2).contiguous()
