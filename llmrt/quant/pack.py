"""From codes that somebody else chose to their packed form."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from llmrt.quant.packed_weight import PackedWeight
from llmrt.quant.scheme import QuantScheme
from llmrt_kernels.packed import BLOCK
from llmrt_kernels.reference.quantize import pack_codes


def pack(codes: Tensor, scales: Tensor, offsets: Tensor | None, scheme: QuantScheme) -> PackedWeight:
    """The matrix w = scale * (code - 2^(bits - 1)), its numbers as they are.

    ``codes`` uint8 [N, K]; ``scales`` [N, K/G], rounded up, of any float type, to be rounded to fp16.
    """
    assert offsets is None
    rows, columns = codes.shape
    blank = (0, 0, 0, -rows % BLOCK)
    data = pack_codes(F.pad(codes, (0, -columns % scheme.group, *blank[2:])), scheme.bits)
    in_blocks = F.pad(scales.half(), blank).unflatten(0, (-1, BLOCK)).transpose(1, 2).contiguous()
    return PackedWeight(data, in_blocks, scheme, (rows, columns))
