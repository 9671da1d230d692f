"""Products with packed weights, rows in blocks of 16. Codes of b bits lie in lines of 64 bytes: byte 4i+c of line h has
row i's for k = 32/b h + 4j+c from bit b j on. Quantized, w = scale * (code - zero), or + offset:

bits 4   data [N/16, K/8, 64]: k = 8h+c in the low and 8h+4+c in the high nibble
bits 8   data [N/16, K/4, 64]: k = 4h+c
scales   [N/16, K/G, 16] fp16, and offsets if there are any; the zero is 8 (bits 4) or 128 (bits 8)

or, where scales and offsets are integers times others, as GGUF's types (``layout.FORMS``). A strip is the lines of 64
columns: those of lower bits, those of upper bits, and one with bytes of 16 rows each, the integers

q4_k, q5_k   data [N/16, K/64 * (8+0+1 or 8+2+1), 64]: s, z of 32 columns, s, z of the others; w = scale * s * code +
             offset * z
q6_k, q3_k   data [N/16, K/64 * (8+4+1 or 4+2+1), 64]: s, signed, of each 16 columns; w = scale * s * (code - 32 or 4)
q2_k         data [N/16, K/64 * (4+0+1), 64]: s + 16 z of each 16 columns; w = scale * s * code + offset * z
iq4_xs       data [N/16, K/128 * (16+0+1), 64], strips of 128 columns: s, signed, of each 32; w = scale * s *
             table[code]
scales       [N/16, K/256, 16] fp16, and the offsets of those with a z

or, of its types without such integers, in strips of 32 columns:

iq4_nl       data [N/16, K/32 * (4+0), 64]; w = scale * table[code]
q5_0         data [N/16, K/32 * (4+1), 64]; w = scale * (code - 16)
q5_1         data [N/16, K/32 * (4+1), 64]; w = scale * code + offset
scales       [N/16, K/32, 16] fp16, and q5_1's offsets

or floats without scales, of which two of a row stand together in bf16, as its dot product takes them:

bf16        data [N/16, K/2, 16, 2]: value [i, c] of line j is row i's for k = 2j+c
fp16, fp32  data [N/16, K, 16, 1]

Here the weight is unpacked and multiplied as it is: the truth that kernels with int8 activations come near to.
"""

from __future__ import annotations

import torch
from torch import Tensor

from llmrt_kernels.head_norm import HeadNorm
from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.layout import FORMS, Form
from llmrt_kernels.packed import Matrix, Weight
from llmrt_kernels.reference.activation import activation, gated_activation
from llmrt_kernels.reference.linear import linear
from llmrt_kernels.reference.rope_kv_write import rope_kv_write


def unpack_codes(data: Tensor, bits: int) -> Tensor:
    """The codes of a packed weight, [N padded to 16, K padded to the group] uint8."""
    lines = data.unflatten(2, (16, 4))  # block, line, row, column
    if bits < 8:
        lines = torch.stack([lines >> i & (1 << bits) - 1 for i in range(0, 8, bits)], dim=3).flatten(3)
    return lines.transpose(1, 2).flatten(2).flatten(0, 1)


def dequantize(matrix: Matrix, group: int) -> Tensor:
    """The matrix that is meant, [N, K padded to the group] fp32."""
    if matrix.scales is None:
        return matrix.data.transpose(1, 2).flatten(2).flatten(0, 1)[: matrix.rows].float()
    if matrix.form is not None:
        return _in_form(matrix, FORMS[matrix.form])[: matrix.rows]
    codes = unpack_codes(matrix.data, matrix.bits).float().unflatten(1, (-1, group))
    values = (codes - (1 << (matrix.bits - 1))) * _of_rows(matrix.scales)
    if matrix.offsets is not None:
        values += _of_rows(matrix.offsets)
    return values.flatten(1)[: matrix.rows]


def _in_form(matrix: Matrix, form: Form) -> Tensor:
    """All rows of one of GGUF's types."""
    assert matrix.scales is not None
    strips = matrix.data.unflatten(1, (-1, form.lines))
    of_bits = form.strip // 32  # lines of a bit
    low, upper = strips[:, :, : form.low * of_bits], strips[:, :, form.low * of_bits : form.bits * of_bits]
    codes = unpack_codes(low.flatten(1, 2), form.low).int()
    if form.upper:
        codes += unpack_codes(upper.flatten(1, 2), form.upper).int() << form.low
    numbers = torch.tensor(form.table)[codes] if form.table else codes - form.zero
    parts = numbers.float().unflatten(1, (-1, form.part))
    if not form.has_integers:
        s = z = torch.ones_like(matrix.scales)
    else:
        s, z = _integers(strips[:, :, -1].unflatten(2, (4, 16)).flatten(1, 2), form)
    values = _product(matrix.scales, s) * parts
    if matrix.offsets is not None:
        values += _product(matrix.offsets, z)
    return values.flatten(1)


def _integers(lines: Tensor, form: Form) -> tuple[Tensor, Tensor]:
    """s, and z if there are any, of each part."""
    if not form.affine:
        return lines.view(torch.int8), lines
    return (lines[:, ::2], lines[:, 1::2]) if form.part == 32 else (lines & 15, lines >> 4)


def _product(outer: Tensor, integers: Tensor) -> Tensor:
    """fp16 [N/16, K/256, 16] times [N/16, parts, 16] -> fp32 [N, parts, 1]."""
    repeats = integers.shape[1] // outer.shape[1]
    return _of_rows(integers) * _of_rows(outer).repeat_interleave(repeats, dim=1)


def _of_rows(scales: Tensor) -> Tensor:
    """[N/16, K/G, 16] -> fp32 [N, K/G, 1]."""
    return scales.transpose(1, 2).flatten(0, 1).float().unsqueeze(2)


def linear_packed(x: Tensor, weight: Weight, residual: Tensor | None = None) -> Tensor:
    """x W^T + bias + residual. x [T, K], residual [T, N] -> [T, N]."""
    dense = torch.cat([dequantize(piece, weight.group) for piece in weight.pieces])[:, : x.shape[1]]
    return linear(x, dense.to(x.dtype), weight.bias, residual)


def gated_linear_packed(x: Tensor, weight: Weight, name: str = "silu", *, delta: Tensor | None = None) -> Tensor:
    """activation(gate) * up of the product with ``weight`` [2 I, K]. x [T, K] -> [T, I], I a multiple of 16.

    The activation is the one called ``name``. For each group of G outputs (the last may be shorter) ``weight`` has
    their rows of gate, then those of up. ``delta`` [T, 2 I] is added to the product, all of gate's before all of up's.
    """
    parts = [part.chunk(2, dim=1) for part in linear_packed(x, weight).split(2 * weight.group, dim=1)]
    gate_up = torch.cat([gate for gate, _ in parts] + [up for _, up in parts], dim=1)
    return gated_activation(_plus(gate_up, delta), name)


def activated_linear_packed(x: Tensor, weight: Weight, name: str, *, delta: Tensor | None = None) -> Tensor:
    """The activation called ``name`` of x W^T + bias + delta. x [T, K] -> [T, I]."""
    return activation(_plus(linear_packed(x, weight), delta), name)


def rotary_linear_packed(
    x: Tensor,
    weight: Weight,
    positions: Tensor,
    cos_sin: Tensor,
    slot_mapping: Tensor,
    kv: LayerKVCache,
    head_norm: HeadNorm | None = None,
    *,
    delta: Tensor | None = None,
) -> Tensor:
    """Queries, keys and values of ``weight`` [(H + 2 KVH) D, K]. x [T, K] -> rotated queries [T, H, D].

    Keys are rotated too, and keys and values written to the cache: see ``rope_kv_write``. ``delta`` [T, (H + 2 KVH) D]
    is added to the product.
    """
    qkv = _plus(linear_packed(x, weight), delta)
    return rope_kv_write(qkv, positions, cos_sin, slot_mapping, kv, head_norm)


def _plus(y: Tensor, delta: Tensor | None) -> Tensor:
    return y if delta is None else y + delta


def embedding_packed(token_ids: Tensor, table: Weight, hidden_size: int, dtype: torch.dtype) -> Tensor:
    """Rows of a table of one piece. token_ids [T] int64 -> [T, hidden_size] of ``dtype``."""
    return dequantize(table.pieces[0], table.group)[token_ids, :hidden_size].to(dtype)
