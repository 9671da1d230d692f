"""The codes of a GGUF type as the kernels take them.

A row is blocks of 32 values, or of 256 in the types called K and XS; the docstrings below give the bytes of one, and
the number w that a value stands for. d and m are fp16, q a value's code, qh its high bits, and s and z scales of 6 or 8
bits for each 32 or 16 values. Formulas: ggml-quants.c of https://github.com/ggml-org/llama.cpp, and gguf.quants, which
the tests compare with.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from gguf import GGML_QUANT_SIZES
from gguf import GGMLQuantizationType as Kind
from torch import Tensor

from llmrt.model.checkpoints.gguf.schemes import GROUP, SCHEMES
from llmrt.quant.scheme import QuantScheme
from llmrt.quant.stored_codes import StoredCodes
from llmrt.quant.words import words_of
from llmrt_kernels.layout import FORMS, Form

# Of blocks [B, bytes]: codes [B, values] uint8; scales, and offsets if the scheme has them, [B, values / 32] fp32.
Parts = tuple[Tensor, Tensor, Tensor | None]
# Of those in a form of their own: codes, integers if there are any, four bytes a strip [B, 4 strips], and of the whole
# block the scale and the offset.
InForm = tuple[Tensor, Tensor | None, Tensor, Tensor | None]

_ZERO = 128  # the code of an int8 zero
_VALUES = (torch.tensor(FORMS["iq4_nl"].table) + _ZERO).to(torch.uint8)
_STRIP_VALUES = 1 << 19  # which stay in the caches from one pass over them to the next


def has_codes(kind: Kind, *, flat: bool) -> bool:
    """Whether the codes of ``kind`` are taken over, or made into such without a form if ``flat``."""
    return kind in _UNPACK or (kind in _IN_FORM and not flat)


def codes_of(rows: Tensor, kind: Kind, *, flat: bool = False) -> StoredCodes:
    """Rows of packed blocks, uint8 [.., bytes], of a ``kind`` that has codes. ``flat`` ones are in no form."""
    values, size = GGML_QUANT_SIZES[kind]
    scheme = SCHEMES[kind].flat if flat else SCHEMES[kind]
    blocks = rows.reshape(-1, size)
    words = torch.empty(len(blocks), scheme.words_of(values), dtype=torch.int32)
    scales = torch.empty(len(blocks), values // scheme.scale_columns, dtype=torch.float16)
    offsets = torch.empty_like(scales) if scheme.affine else None
    step = _STRIP_VALUES // values
    for start in range(0, len(blocks), step):
        strip = slice(start, start + step)
        words[strip], *by_group = _unpacked(blocks[strip], kind, scheme)
        for tensor, part in zip((scales, offsets), by_group, strict=True):
            if tensor is not None and part is not None:
                tensor[strip] = part
    return StoredCodes(words, scales, offsets, scheme).with_rows(lambda t: t.view(*rows.shape[:-1], -1))


def _unpacked(blocks: Tensor, kind: Kind, scheme: QuantScheme) -> Parts:
    """Words, and what belongs to columns together."""
    if scheme.form is None:
        codes, scales, offsets = _UNPACK[kind](blocks)
        return words_of(codes, scheme.bits), scales, offsets
    codes, integers, scales, offsets = _IN_FORM[kind](blocks)
    return _strips(codes, integers, FORMS[scheme.form]), scales, offsets


def _strips(codes: Tensor, integers: Tensor | None, form: Form) -> Tensor:
    """A row's share of the lines of each strip."""
    codes = codes.unflatten(1, (-1, form.strip))
    words = [words_of(codes & (1 << form.low) - 1 if form.upper else codes, form.low)]
    if form.upper:
        words.append(words_of(codes >> form.low, form.upper))
    if integers is not None:
        words.append(integers.contiguous().view(torch.int32).unsqueeze(2))
    return torch.cat(words, dim=2).flatten(1)


def _q4_0(blocks: Tensor) -> Parts:
    """d q[16]: w = d (q - 8)."""
    return _nibbles(blocks[:, 2:]), _fp16(blocks, 0), None


def _q4_1(blocks: Tensor) -> Parts:
    """d m q[16]: w = d q + m."""
    d, m = _fp16(blocks, 0), _fp16(blocks, 2)
    return _nibbles(blocks[:, 4:]), d, m + 8 * d


def _q5_0(blocks: Tensor) -> Parts:
    """d qh[4] q[16]: w = d (q - 16)."""
    codes, _, d, _ = _q5_0_in_form(blocks)
    return codes + (_ZERO - 16), d, None


def _q5_0_in_form(blocks: Tensor) -> InForm:
    return _five_bits(blocks[:, 2:6], blocks[:, 6:]), None, _fp16(blocks, 0), None


def _q5_1(blocks: Tensor) -> Parts:
    """d m qh[4] q[16]: w = d q + m."""
    d, m = _fp16(blocks, 0), _fp16(blocks, 2)
    return _five_bits(blocks[:, 4:8], blocks[:, 8:]) + (_ZERO - 16), d, m + 16 * d


def _q5_1_in_form(blocks: Tensor) -> InForm:
    return _five_bits(blocks[:, 4:8], blocks[:, 8:]), None, _fp16(blocks, 0), _fp16(blocks, 2)


def _q8_0(blocks: Tensor) -> Parts:
    """d q[32]: w = d q, q int8."""
    return blocks[:, 2:] ^ _ZERO, _fp16(blocks, 0), None


def _iq4_nl(blocks: Tensor) -> Parts:
    """d q[16]: w = d value[q], of a table of int8."""
    codes, _, d, _ = _iq4_nl_in_form(blocks)
    return _VALUES[codes.int()], d, None


def _iq4_nl_in_form(blocks: Tensor) -> InForm:
    return _nibbles(blocks[:, 2:]), None, _fp16(blocks, 0), None


def _iq4_xs(blocks: Tensor) -> Parts:
    """d sh[2] sl[4] q[128]: w = d (s - 32) value[q]."""
    codes, s, d, _ = _iq4_xs_in_form(blocks)
    return _VALUES[codes.int()], s.view(torch.int8) * d, None


def _iq4_xs_in_form(blocks: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    low = torch.stack((blocks[:, 4:8] & 15, blocks[:, 4:8] >> 4), dim=2).flatten(1)
    high = torch.stack([blocks[:, 2:4] >> i & 3 for i in (0, 2, 4, 6)], dim=2).flatten(1)
    codes = _nibbles(blocks[:, 8:].unflatten(1, (8, 16))).flatten(1)
    return codes, (low | high << 4) - 32, _fp16(blocks, 0), None


def _q4_k(blocks: Tensor) -> Parts:
    """d m sz[12] q[128]: w = d s q - m z."""
    scales, minima = _scales_and_minima(blocks)
    return _q4_k_codes(blocks), scales, 8 * scales - minima


def _q4_k_in_form(blocks: Tensor) -> InForm:
    return _q4_k_codes(blocks), *_of_minima(blocks)


def _q4_k_codes(blocks: Tensor) -> Tensor:
    return _nibbles(blocks[:, 16:].unflatten(1, (4, 32))).flatten(1)


def _q5_k(blocks: Tensor) -> Parts:
    """d m sz[12] qh[32] q[128]: w = d s q - m z."""
    scales, minima = _scales_and_minima(blocks)
    return _q5_k_codes(blocks) + (_ZERO - 16), scales, 16 * scales - minima


def _q5_k_in_form(blocks: Tensor) -> InForm:
    return _q5_k_codes(blocks), *_of_minima(blocks)


def _q5_k_codes(blocks: Tensor) -> Tensor:
    low = _nibbles(blocks[:, 48:].unflatten(1, (4, 32))).flatten(1)
    high = torch.cat([blocks[:, 16:48] >> i & 1 for i in range(8)], dim=1)
    return low | high << 4


def _q6_k(blocks: Tensor) -> Parts:
    """q[128] qh[64] s[16] d: w = d s (q - 32), an s for 16 values.

    In groups of 32 the half of the larger |s| has exact codes, four times its own; those of the other are rounded.
    """
    codes, s, d, _ = _q6_k_in_form(blocks)
    q = codes.unflatten(1, (-1, 2, 16)).float() - 32
    s = s.view(torch.int8).unflatten(1, (-1, 2)).float()
    larger = s.gather(2, s.abs().argmax(2, keepdim=True))
    ratio = torch.where(larger == 0, 0, 4 * s / larger)
    codes = ((q * ratio.unsqueeze(3)).round() + _ZERO).clamp(max=255)
    return codes.to(torch.uint8).flatten(1), larger[..., 0] / 4 * d, None


def _q6_k_in_form(blocks: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    low = _nibbles(blocks[:, :128].unflatten(1, (2, 64))).flatten(1)
    return low | _two_bits(blocks[:, 128:192]) << 4, blocks[:, 192:208].contiguous(), _fp16(blocks, 208), None


def _q3_k(blocks: Tensor) -> Parts:
    """qh[32] q[64] s[12] d: w = d (s - 32) (q + 4 qh - 4), an s for 16 values.

    The products of the integers are codes of int8, and all of a group turned about where one is 128.
    """
    codes, s, d, _ = _q3_k_in_form(blocks)
    q = codes.unflatten(1, (16, 16)).short() - 4
    products = (q * s.view(torch.int8).unsqueeze(2)).view(len(blocks), 8, GROUP)
    sign = 1 - 2 * (products.amax(2, keepdim=True) >= _ZERO).short()
    return (sign * products + _ZERO).to(torch.uint8).flatten(1), sign[..., 0] * d, None


def _q3_k_in_form(blocks: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    high = torch.cat([blocks[:, :32] >> i & 1 for i in range(8)], dim=1)
    sl = torch.cat((blocks[:, 96:104] & 15, blocks[:, 96:104] >> 4), dim=1)
    sh = torch.cat([blocks[:, 104:108] >> i & 3 for i in (0, 2, 4, 6)], dim=1)
    return _two_bits(blocks[:, 32:96]) | high << 2, (sl | sh << 4) - 32, _fp16(blocks, 108), None


def _q2_k_in_form(blocks: Tensor) -> InForm:
    """sz[16] q[64] d m: w = d s q - m z, an s and a z for 16 values, halves of a byte."""
    return _two_bits(blocks[:, 16:80]), blocks[:, :16], _fp16(blocks, 80), -_fp16(blocks, 82)


def _fp16(blocks: Tensor, at: int) -> Tensor:
    """The number at byte ``at`` of each block, [B, 1] fp32."""
    return blocks[:, at : at + 2].contiguous().view(torch.float16).float()


def _nibbles(packed: Tensor) -> Tensor:
    """The low halves of bytes [.., n], and then the high ones."""
    return torch.cat((packed & 15, packed >> 4), dim=-1)


def _two_bits(packed: Tensor) -> Tensor:
    """[B, 64], of which 32 bytes have two bits of 32 values after two of those before."""
    return torch.cat([packed.unflatten(1, (2, 32)) >> i & 3 for i in (0, 2, 4, 6)], dim=2).flatten(1)


def _five_bits(high: Tensor, packed: Tensor) -> Tensor:
    """Nibbles with a fifth bit each from ``high``, of which a byte has eight in turn."""
    bits = torch.stack([high >> i & 1 for i in range(8)], dim=2).flatten(1)
    return _nibbles(packed) | bits << 4


def _scales_and_minima(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """d s and m z of a block that begins with d m sz[12], [B, 8] each."""
    s, z = _six_bits(blocks)
    return s * _fp16(blocks, 0), z * _fp16(blocks, 2)


def _of_minima(blocks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """s and z in turn of such a block, d and -m."""
    return torch.stack(_six_bits(blocks), dim=2).flatten(1), _fp16(blocks, 0), -_fp16(blocks, 2)


def _six_bits(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """s and z of such a block."""
    s, z, high = blocks[:, 4:16].unflatten(1, (3, 4)).unbind(1)
    return (
        torch.cat((s & 63, high & 15 | s >> 2 & 48), dim=1),
        torch.cat((z & 63, high >> 4 | z >> 2 & 48), dim=1),
    )


_UNPACK: dict[Kind, Callable[[Tensor], Parts]] = {
    Kind.Q4_0: _q4_0,
    Kind.Q4_1: _q4_1,
    Kind.Q5_0: _q5_0,
    Kind.Q5_1: _q5_1,
    Kind.Q8_0: _q8_0,
    Kind.Q3_K: _q3_k,
    Kind.Q4_K: _q4_k,
    Kind.Q5_K: _q5_k,
    Kind.Q6_K: _q6_k,
    Kind.IQ4_NL: _iq4_nl,
    Kind.IQ4_XS: _iq4_xs,
}
_IN_FORM: dict[Kind, Callable[[Tensor], InForm]] = {
    Kind.Q5_0: _q5_0_in_form,
    Kind.Q5_1: _q5_1_in_form,
    Kind.IQ4_NL: _iq4_nl_in_form,
    Kind.Q2_K: _q2_k_in_form,
    Kind.Q3_K: _q3_k_in_form,
    Kind.Q4_K: _q4_k_in_form,
    Kind.Q5_K: _q5_k_in_form,
    Kind.Q6_K: _q6_k_in_form,
    Kind.IQ4_XS: _iq4_xs_in_form,
}
