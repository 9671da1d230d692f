"""The codes of a GGUF type as the kernels take them.

A row is blocks of 32 or 256 values, whose bytes are drawn with each type below: d is a scale in fp16, q the low bits of
the codes. Formulas: ggml-quants.c of https://github.com/ggml-org/llama.cpp, and gguf.quants, which the tests compare
with.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from gguf import GGML_QUANT_SIZES
from gguf import GGMLQuantizationType as Kind
from torch import Tensor

from llmrt.model.gguf_schemes import SCHEMES
from llmrt.quant.stored_codes import StoredCodes

# Of blocks [.., B, bytes]: codes [.., B, values], scales and offsets [.., B, values / 32].
Parts = tuple[Tensor, Tensor, Tensor | None]


def codes_of(rows: Tensor, kind: Kind) -> StoredCodes:
    """Rows of packed blocks, uint8 [.., N, bytes], of a ``kind`` that has a scheme."""
    blocks = rows.unflatten(-1, (-1, GGML_QUANT_SIZES[kind][1]))
    codes, scales, offsets = _UNPACK[kind](blocks)
    return StoredCodes(
        codes.flatten(-2), scales.flatten(-2), None if offsets is None else offsets.flatten(-2), SCHEMES[kind]
    )


def _q4_0(blocks: Tensor) -> Parts:
    """d q[16]: w = d (q - 8), the low nibbles first."""
    return _nibbles(blocks[..., 2:]), _fp16(blocks, 0), None


def _q8_0(blocks: Tensor) -> Parts:
    """d q[32]: w = d q, q int8."""
    return blocks[..., 2:] ^ 0x80, _fp16(blocks, 0), None


def _fp16(blocks: Tensor, at: int) -> Tensor:
    """The number at byte ``at`` of each block, [.., B, 1]."""
    return blocks[..., at : at + 2].contiguous().view(torch.float16)


def _nibbles(packed: Tensor) -> Tensor:
    return torch.cat((packed & 15, packed >> 4), dim=-1)


_UNPACK: dict[Kind, Callable[[Tensor], Parts]] = {Kind.Q4_0: _q4_0, Kind.Q8_0: _q8_0}
