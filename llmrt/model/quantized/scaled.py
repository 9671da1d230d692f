"""The numbers of matrices in int8 or fp8; ``scaled_headers.py`` draws how they lie."""

from __future__ import annotations

import torch
from torch import Tensor

from llmrt.model.quantized.matrix import QuantizedMatrix
from llmrt.model.quantized.scaled_headers import ScaledLayout
from llmrt.model.quantized.unpack import GroupedCodes
from llmrt.quant.words import words_of

_STRIP_VALUES = 1 << 18  # which stay in the caches from one pass over them to the next


def scaled_numbers(matrix: QuantizedMatrix, layout: ScaledLayout, tensors: dict[str, Tensor]) -> Tensor:
    """The matrix in fp32."""
    numbers = _floats(tensors["weight"])
    if layout.zeros:
        numbers -= _spread(tensors["weight_zero_point"].float(), matrix.shape, layout)
    return numbers.mul_(_spread(tensors[layout.scales].float(), matrix.shape, layout))


def int8_codes(matrix: QuantizedMatrix, layout: ScaledLayout, tensors: dict[str, Tensor]) -> GroupedCodes:
    """Of int8 with a scale for all, a row, or a group of a row."""
    rows, columns = matrix.shape
    group = layout.block[1] if layout.block else columns
    shape = rows, -(-columns // group)
    zeros = tensors["weight_zero_point"] if layout.zeros else torch.zeros(1, dtype=torch.int8)
    scales, middles = (t.reshape(-1, shape[1]).expand(shape) for t in (tensors[layout.scales], unsigned(zeros)))
    return GroupedCodes(8, group, columns, words_of(unsigned(tensors["weight"]), 8), middles, scales)


def unsigned(numbers: Tensor) -> Tensor:
    """int8 plus 128, as uint8."""
    return numbers.view(torch.uint8) ^ 0x80


def _floats(weight: Tensor) -> Tensor:
    """fp32; of fp8 in a fifth of the time that torch takes."""
    if weight.dtype != torch.float8_e4m3fn:
        return weight.float()
    return torch.cat([_of_fp8(rows) for rows in weight.split(max(1, _STRIP_VALUES // weight.shape[1]))])


def _of_fp8(weight: Tensor) -> Tensor:
    """fp16 has an exponent of one bit more, whose middle is 8 higher, and so the same numbers divided by 2^8."""
    bits = weight.view(torch.int8).short()
    magnitude = bits & 0x7F
    halves = (bits & -0x8000).bitwise_or_(magnitude << 7).view(torch.float16)
    return halves.float().mul_(256).masked_fill_(magnitude == 0x7F, torch.nan)


def _spread(scales: Tensor, shape: tuple[int, int], layout: ScaledLayout) -> Tensor:
    """What each number is multiplied with, in a shape that broadcasts to ``shape``."""
    if layout.block is None:
        return scales.reshape(-1, 1)
    (rows, columns), (row_step, column_step) = shape, layout.block
    tall = scales.repeat_interleave(row_step, 0)[:rows]
    return tall.repeat_interleave(column_step, 1)[:, :columns]
