"""Products with packed weights, rows in blocks of 16. Quantized, w = scale * (code - zero), or + offset:

bits 4   data [N/16, K/8, 64]: byte 4i+c of line j has row i's code for k = 8j+c (low) and 8j+4+c (high nibble)
bits 8   data [N/16, K/4, 64]: byte 4i+c of line j has row i's code for k = 4j+c
scales   [N/16, K/G, 16] fp16, and offsets if there are any; the zero is 8 (bits 4) or 128 (bits 8)

or, where scales and offsets are integers times others, those of GGUF's K-quants. A strip is the lines of 64 columns:
eight as above, those of upper bits, and one with bytes of 16 rows each, the integers

bits 4   data [N/16, K/64 * 9, 64]: s, z of 32 columns, s, z of the others; w = scale * s * code + offset * z
bits 6   data [N/16, K/64 * 13, 64]: s, signed, of each 16 columns; w = scale * s * (code - 32). Bits 2j and 2j+1 of
         byte 4i+c of the h-th of four lines are the upper two of row i's code for k = 16h+4j+c
scales   [N/16, K/256, 16] fp16, and the offsets of bits 4

or floats without scales, of which two of a row stand together in bf16, as its dot product takes them:

bf16        data [N/16, K/2, 16, 2]: value [i, c] of line j is row i's for k = 2j+c
fp16, fp32  data [N/16, K, 16, 1]

Here the weight is unpacked and multiplied as it is: the truth that kernels with int8 activations come near to.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from llmrt_kernels.head_norm import HeadNorm
from llmrt_kernels.layout import STRIP_LINES
from llmrt_kernels.packed import Matrix, Weight
from llmrt_kernels.reference.activation import activation, gated_activation
from llmrt_kernels.reference.linear import linear
from llmrt_kernels.reference.rope_kv_write import rope_kv_write


def unpack_codes(data: Tensor, bits: int) -> Tensor:
    """The codes of a packed weight, [N padded to 16, K padded to the group] uint8."""
    lines = data.unflatten(2, (16, 4))  # block, line, row, column
    if bits == 4:
        lines = torch.stack((lines & 15, lines >> 4), dim=3).flatten(3)
    return lines.transpose(1, 2).flatten(2).flatten(0, 1)


def dequantize(matrix: Matrix, group: int) -> Tensor:
    """The matrix that is meant, [N, K padded to the group] fp32."""
    if matrix.scales is None:
        return matrix.data.transpose(1, 2).flatten(2).flatten(0, 1)[: matrix.rows].float()
    if matrix.nested:
        return _nested(matrix)[: matrix.rows]
    codes = unpack_codes(matrix.data, matrix.bits).float().unflatten(1, (-1, group))
    values = (codes - (1 << (matrix.bits - 1))) * _of_rows(matrix.scales)
    if matrix.offsets is not None:
        values += _of_rows(matrix.offsets)
    return values.flatten(1)[: matrix.rows]


def _nested(matrix: Matrix) -> Tensor:
    """All rows of one whose scales are integers times others."""
    strips = matrix.data.unflatten(1, (-1, STRIP_LINES[matrix.bits]))
    codes = unpack_codes(strips[:, :, :8].flatten(1, 2), 4)
    integers = strips[:, :, -1].unflatten(2, (4, 16)).flatten(1, 2)  # of rows, for each 16 columns
    assert matrix.scales is not None
    if matrix.bits == 6:
        codes = codes | _upper_bits(strips[:, :, 8:12].flatten(1, 2)) << 4
        parts = (codes.float() - 32).unflatten(1, (-1, 16))
        return (_product(matrix.scales, integers.view(torch.int8)) * parts).flatten(1)
    assert matrix.offsets is not None
    parts = codes.float().unflatten(1, (-1, 32))
    s, z = integers[:, ::2], integers[:, 1::2]
    return (_product(matrix.scales, s) * parts + _product(matrix.offsets, z)).flatten(1)


def _upper_bits(lines: Tensor) -> Tensor:
    """Two bits of each code, [N padded, K] uint8."""
    vectors = torch.stack([lines >> i & 3 for i in (0, 2, 4, 6)], dim=2).flatten(1, 2)
    return vectors.unflatten(2, (16, 4)).transpose(1, 2).flatten(2).flatten(0, 1)


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


def gated_linear_packed(
    x: Tensor,
    weight: Weight,
    name: str = "silu",
    *,
    delta: Tensor | None = None,
    product: Callable[[Tensor, Weight], Tensor] = linear_packed,
) -> Tensor:
    """activation(gate) * up of the product with ``weight`` [2 I, K]. x [T, K] -> [T, I], I a multiple of 16.

    The activation is the one called ``name``. For each group of G outputs (the last may be shorter) ``weight`` has
    their rows of gate, then those of up. ``product`` computes x W^T; ``delta`` [T, 2 I] is added to it, all of gate's
    before all of up's.
    """
    parts = [part.chunk(2, dim=1) for part in product(x, weight).split(2 * weight.group, dim=1)]
    gate_up = torch.cat([gate for gate, _ in parts] + [up for _, up in parts], dim=1)
    return gated_activation(_plus(gate_up, delta), name)


def activated_linear_packed(
    x: Tensor,
    weight: Weight,
    name: str,
    *,
    delta: Tensor | None = None,
    product: Callable[[Tensor, Weight], Tensor] = linear_packed,
) -> Tensor:
    """The activation called ``name`` of x W^T + bias + delta. x [T, K] -> [T, I]; ``product`` computes x W^T."""
    return activation(_plus(product(x, weight), delta), name)


def rotary_linear_packed(
    x: Tensor,
    weight: Weight,
    positions: Tensor,
    cos_sin: Tensor,
    slot_mapping: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    k_scales: Tensor | None,
    v_scales: Tensor | None,
    head_norm: HeadNorm | None = None,
    *,
    delta: Tensor | None = None,
    product: Callable[[Tensor, Weight], Tensor] = linear_packed,
) -> Tensor:
    """Queries, keys and values of ``weight`` [(H + 2 KVH) D, K]. x [T, K] -> rotated queries [T, H, D].

    Keys are rotated too, and keys and values written to the cache: see ``rope_kv_write``. ``product`` computes x W^T,
    and ``delta`` [T, (H + 2 KVH) D] is added to it.
    """
    qkv = _plus(product(x, weight), delta)
    return rope_kv_write(qkv, positions, cos_sin, slot_mapping, k_cache, v_cache, k_scales, v_scales, head_norm)


def _plus(y: Tensor, delta: Tensor | None) -> Tensor:
    return y if delta is None else y + delta


def embedding_packed(token_ids: Tensor, table: Weight, hidden_size: int, dtype: torch.dtype) -> Tensor:
    """Rows of a table of one piece. token_ids [T] int64 -> [T, hidden_size] of ``dtype``."""
    return dequantize(table.pieces[0], table.group)[token_ids, :hidden_size].to(dtype)
