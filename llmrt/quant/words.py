"""The codes of a row in words of 32 bits, as the lines of a packed weight have them.

bits 8   byte c of word h has the code for k = 4h+c
bits 4   byte c of word h has the codes for k = 8h+c (low) and 8h+4+c (high half)
bits b   byte c of word h has the codes for k = 32/b h + 4j+c, each from bit b j on

Scattered codes, one a byte, take several times the bytes and passes.
"""

from __future__ import annotations

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor


def words_of(codes: Tensor, bits: int) -> Tensor:
    """uint8 [.., K] -> int32 [.., K bits / 32], rounded up with zeros."""
    columns = 32 // bits
    if rest := -codes.shape[-1] % columns:
        codes = F.pad(codes, (0, rest))
    if bits < 8:
        by_four = codes.unflatten(-1, (-1, 8 // bits, 4)).unbind(-2)
        codes = reduce(torch.bitwise_or, (four << bits * i for i, four in enumerate(by_four))).flatten(-2)
    return codes.contiguous().view(torch.int32)


def codes_in(words: Tensor, bits: int) -> Tensor:
    """int32 [.., W] -> uint8 [.., 32 W / bits]."""
    held = words.contiguous().view(torch.uint8)
    if bits == 8:
        return held
    held = held.unflatten(-1, (-1, 4))
    return torch.stack((held & 15, held >> 4), dim=-2).flatten(-3)


def shuffled(stream: Tensor) -> Tensor:
    """Words of 4-bit codes from words with their columns in turn, from the lowest bits on: 76543210 -> 73625140."""
    words = _exchanged(stream, 0x0000FF00, 8)
    return _exchanged(words, 0x00F000F0, 4)


def _exchanged(words: Tensor, mask: int, distance: int) -> Tensor:
    """The bits of ``mask`` and those ``distance`` above them in each other's place."""
    differing = (words ^ words >> distance).bitwise_and_(mask)
    return (words ^ differing).bitwise_xor_(differing.bitwise_left_shift_(distance))
