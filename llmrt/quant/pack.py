"""From codes that somebody else chose to their packed form."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from llmrt.quant.packed_weight import PackedWeight, packed_weight
from llmrt.quant.scheme import QuantScheme
from llmrt_kernels.packed import BLOCK
from llmrt_kernels.reference.quantize import pack_codes


def pack(codes: Tensor, scales: Tensor, offsets: Tensor | None, scheme: QuantScheme) -> PackedWeight:
    """The matrix w = scale * (code - 2^(bits - 1)) + offset, its numbers as they are.

    ``codes`` uint8 [N, K]; ``scales`` [N, K/G], rounded up, and ``offsets`` likewise if the scheme is affine, of any
    float type, to be rounded to fp16.
    """
    rows, columns = codes.shape
    more = -rows % BLOCK
    data = pack_codes(F.pad(codes, (0, -columns % scheme.group, 0, more)), scheme.bits)
    by_group = (scales,) if offsets is None else (scales, offsets)
    in_blocks = [
        F.pad(t.half(), (0, 0, 0, more)).unflatten(0, (-1, BLOCK)).transpose(1, 2).contiguous() for t in by_group
    ]
    return packed_weight((data, *in_blocks), scheme, (rows, columns))
