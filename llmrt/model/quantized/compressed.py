"""The codes of compressed-tensors' pack-quantized; ``compressed_headers.py`` draws how they lie."""

from __future__ import annotations

import torch
from torch import Tensor

from llmrt.model.quantized.compressed_headers import PackedLayout
from llmrt.model.quantized.grouped import order_of
from llmrt.model.quantized.grouped_headers import num_groups
from llmrt.model.quantized.matrix import QuantizedMatrix
from llmrt.model.quantized.unpack import GroupedCodes, unpack, words_in


def packed_codes(matrix: QuantizedMatrix, layout: PackedLayout, tensors: dict[str, Tensor]) -> GroupedCodes:
    """Raises ``CheckpointError`` for another shape than the matrix has, or a column of no group."""
    rows, columns = matrix.shape
    if tensors["weight_shape"].tolist() != [rows, columns]:
        said = tensors["weight_shape"].tolist()
        raise matrix.fault("weight_shape", f"is {said}; the configuration asks for {[rows, columns]}")
    group, shape = layout.group or columns, (rows, num_groups(columns, layout.group))
    scales = tensors["weight_scale"].view(-1, 1) if layout.group == 0 else tensors["weight_scale"]
    group_of = order_of(matrix, group, tensors, "weight_g_idx")
    if group_of is not None and not layout.ordered:
        raise matrix.fault("weight_g_idx", 'has columns out of order, but actorder is not "group"; set it to that')
    words, zeros = words_in(tensors["weight_packed"], layout.bits, columns), _zeros(layout, tensors, shape)
    return GroupedCodes(layout.bits, group, columns, words, zeros, scales.expand(shape), group_of)


def _zeros(layout: PackedLayout, tensors: dict[str, Tensor], shape: tuple[int, int]) -> Tensor:
    half = 2 ** (layout.bits - 1)
    if layout.symmetric:
        return torch.full(shape, half, dtype=torch.uint8)
    stored = tensors["weight_zero_point"]
    if stored.dtype == torch.int32:
        return unpack(stored.T, layout.bits, shape[0]).T
    return (stored.int() + half).to(torch.uint8)
