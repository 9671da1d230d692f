"""The numbers of bitsandbytes' matrices; ``bitsandbytes_headers.py`` draws how they lie."""

from __future__ import annotations

import json

import torch
from torch import Tensor

from llmrt.errors import CheckpointError
from llmrt.model.fields import Fields
from llmrt.model.quantized.bitsandbytes_headers import Int8Layout, TableLayout
from llmrt.model.quantized.matrix import QuantizedMatrix
from llmrt.model.quantized.scaled import unsigned
from llmrt.model.quantized.unpack import GroupedCodes

NESTED_BLOCK = 256
LARGEST = 127


def table_numbers(matrix: QuantizedMatrix, layout: TableLayout, tensors: dict[str, Tensor]) -> Tensor:
    """The matrix in fp32. Raises ``CheckpointError`` for a state that does not fit its tensors."""
    state = _state(matrix, layout, tensors)
    if state.integers("shape") != list(matrix.shape):
        shape = state.integers("shape")
        raise matrix.fault(layout.state, f"has the shape {shape}; the configuration asks for {list(matrix.shape)}")
    packed = tensors["weight"].flatten().view(torch.uint8)
    codes = torch.stack((packed >> 4, packed & 15), dim=1).flatten()[: matrix.shape[0] * matrix.shape[1]]
    numbers, absmax = tensors["weight.quant_map"][codes.int()], _absmax(matrix, layout, tensors, state)
    return _in_blocks(matrix, "weight.absmax", numbers, absmax, state.size("blocksize")).view(matrix.shape)


def int8_numbers(matrix: QuantizedMatrix, layout: Int8Layout, tensors: dict[str, Tensor]) -> Tensor:
    """The matrix in fp32, multiplied in the library's order. Raises ``CheckpointError`` for codes in tiles."""
    _check_rows(matrix, tensors)
    return tensors["weight"].float().mul_(tensors[layout.scales].float().unsqueeze(1)).mul_(1 / LARGEST)


def row_codes(matrix: QuantizedMatrix, layout: Int8Layout, tensors: dict[str, Tensor]) -> GroupedCodes:
    """Those of int8. Raises ``CheckpointError`` for codes in tiles."""
    _check_rows(matrix, tensors)
    scales = tensors[layout.scales].float().unsqueeze(1) / LARGEST
    zeros = torch.full_like(scales, 128, dtype=torch.uint8)
    return GroupedCodes(8, matrix.shape[1], unsigned(tensors["weight"]), zeros, scales)


def _check_rows(matrix: QuantizedMatrix, tensors: dict[str, Tensor]) -> None:
    if "weight_format" in tensors and tensors["weight_format"].any():
        raise matrix.fault("weight_format", "is not 0; save the model again with a bitsandbytes that stores rows")


def _state(matrix: QuantizedMatrix, layout: TableLayout, tensors: dict[str, Tensor]) -> Fields:
    try:
        state = json.loads(bytes(tensors[layout.state].tolist()))
    except ValueError:
        state = None
    if not isinstance(state, dict):
        raise matrix.fault(layout.state, "holds no JSON object")
    return Fields(state, f"{matrix.members[layout.state].file}: {matrix.name}: {layout.state}")


def _absmax(matrix: QuantizedMatrix, layout: TableLayout, tensors: dict[str, Tensor], state: Fields) -> Tensor:
    stored = tensors["weight.absmax"].flatten()
    if not layout.nested:
        return stored
    if state.size("nested_blocksize") != NESTED_BLOCK:
        raise CheckpointError(f"{state.where}: nested_blocksize is not {NESTED_BLOCK}, as bitsandbytes has it.")
    numbers = tensors["weight.nested_quant_map"][stored.int()]
    nested = tensors["weight.nested_absmax"].flatten()
    absmax = _in_blocks(matrix, "weight.nested_absmax", numbers, nested, NESTED_BLOCK)
    return absmax + state.require("nested_offset", float)


def _in_blocks(matrix: QuantizedMatrix, member: str, numbers: Tensor, absmax: Tensor, size: int) -> Tensor:
    """``numbers``, each times that of ``absmax`` for its block of ``size``. Raises ``CheckpointError``."""
    blocks = -(-len(numbers) // size)
    if len(absmax) != blocks:
        raise matrix.fault(member, f"has {len(absmax)} numbers; {len(numbers)} in blocks of {size} ask for {blocks}")
    return numbers.mul_(absmax.repeat_interleave(size)[: len(numbers)])
