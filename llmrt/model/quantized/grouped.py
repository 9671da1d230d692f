"""The codes of GPTQ and AWQ; ``grouped_headers.py`` draws how they lie."""

from __future__ import annotations

import torch
from torch import Tensor

from llmrt.model.quantized.grouped_headers import AwqLayout, GptqLayout
from llmrt.model.quantized.matrix import QuantizedMatrix
from llmrt.model.quantized.unpack import GroupedCodes, unpack, words_in
from llmrt.quant.words import words_of

Tensors = dict[str, Tensor]

# Where the code of each of 8 columns lies in its word.
AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)


def gptq_codes(matrix: QuantizedMatrix, layout: GptqLayout, tensors: Tensors) -> GroupedCodes:
    """Raises ``CheckpointError`` for a column of no group, or a bias."""
    rows, columns = matrix.shape
    if "bias" in tensors and tensors["bias"].any():
        raise matrix.fault("bias", "has no place in a model of this configuration")
    words = words_in(tensors["qweight"].T, layout.bits, columns)
    zeros = (unpack(tensors["qzeros"], layout.bits, rows).T + layout.first_zero) & (2**layout.bits - 1)
    group = layout.group or columns
    group_of = order_of(matrix, group, tensors, "g_idx")
    if group_of is not None and not layout.ordered:
        raise matrix.fault("g_idx", "has columns out of order, but desc_act is false; set it to true")
    return GroupedCodes(layout.bits, group, columns, words, zeros, tensors["scales"].T, group_of)


def awq_codes(matrix: QuantizedMatrix, layout: AwqLayout, tensors: Tensors) -> GroupedCodes:
    """Of any tensors of the right shapes."""
    codes, zeros = (_awq_unpacked(tensors[name], layout.bits, matrix.shape[0]) for name in ("qweight", "qzeros"))
    columns, words = matrix.shape[1], words_of(codes, layout.bits)
    return GroupedCodes(layout.bits, layout.group or columns, columns, words, zeros, tensors["scales"].T)


def _awq_unpacked(words: Tensor, bits: int, count: int) -> Tensor:
    """int32 [R, W] -> uint8 [count, R]."""
    codes = unpack(words, bits, 8 * words.shape[1]).unflatten(1, (-1, 8))
    return codes[..., list(AWQ_ORDER)].flatten(1).T[:count]


def order_of(matrix: QuantizedMatrix, group: int, tensors: Tensors, name: str) -> Tensor | None:
    """The group of each column, None if they stand in turn. Raises ``CheckpointError`` for one that there is not."""
    given, columns = tensors.get(name), matrix.shape[1]
    if given is None or (given == -1).all():
        return None
    groups = -(-columns // group)
    if not 0 <= int(given.min()) <= int(given.max()) < groups:
        raise matrix.fault(name, f"names a group that is not among the {groups} of {matrix.layout.label}")
    return None if torch.equal(given, torch.arange(columns, dtype=given.dtype) // group) else given.long()
