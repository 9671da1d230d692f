"""The numbers of bitsandbytes' matrices; ``bitsandbytes_headers.py`` draws how they lie."""

from __future__ import annotations

import torch
from torch import Tensor

from llmrt.errors import CheckpointError
from llmrt.model.fields import Fields
from llmrt.model.quantized.bitsandbytes_headers import Int8Layout, TableLayout
from llmrt.model.quantized.kept_headers import ROUNDED
from llmrt.model.quantized.matrix import QuantizedMatrix
from llmrt.model.quantized.scaled import unsigned
from llmrt.model.quantized.unpack import GroupedCodes, looked_up
from llmrt.quant.stored_codes import StoredCodes
from llmrt.quant.words import words_of
from llmrt.text.json_text import parse_json

NESTED_BLOCK = 256
LARGEST = 127


def table_numbers(matrix: QuantizedMatrix, layout: TableLayout, tensors: dict[str, Tensor]) -> Tensor:
    """The matrix in fp32. Raises ``CheckpointError`` for a state that does not fit its tensors."""
    state = _state(matrix, layout, tensors)
    packed = _bytes(tensors["weight"])
    codes = torch.stack((packed >> 4, packed & 15), dim=1).flatten()[: matrix.shape[0] * matrix.shape[1]]
    numbers, absmax = looked_up(tensors["weight.quant_map"], codes), _absmax(matrix, layout, tensors, state)
    return _in_blocks(matrix, "weight.absmax", numbers, absmax, state.size("blocksize")).view(matrix.shape)


def table_codes(matrix: QuantizedMatrix, layout: TableLayout, tensors: dict[str, Tensor]) -> StoredCodes | None:
    """Each number of the table as a code of int8, None where groups do not fit the blocks.

    It is off by 1/127 of a block's largest number at most, by 1/580 typically.
    """
    state, group = _state(matrix, layout, tensors), ROUNDED.group
    (rows, columns), size = matrix.shape, state.size("blocksize")
    if columns % group or size % group:
        return None
    codes, step = _rounded_table(tensors["weight.quant_map"])
    pairs = torch.stack((codes.repeat_interleave(16), codes.repeat(16)), dim=1).view(torch.int16).flatten()
    words = looked_up(pairs, _bytes(tensors["weight"])).view(torch.int32).view(rows, -1)
    absmax = _absmax(matrix, layout, tensors, state)
    _check_blocks(matrix, "weight.absmax", rows * columns, absmax, size)
    scales = (absmax * step).half().repeat_interleave(size // group)[: rows * columns // group]
    return StoredCodes(words, scales.view(rows, -1), None, ROUNDED)


def _rounded_table(table: Tensor) -> tuple[Tensor, Tensor]:
    """Codes of int8 for the numbers of a table, and the step between codes that fits them best."""
    steps = table.abs().max() / torch.arange(LARGEST // 2, LARGEST + 1).unsqueeze(1)
    codes = (table / steps).round()
    best = (codes * steps - table).square().sum(1).argmin()
    return (codes[best] + (LARGEST + 1)).to(torch.uint8), steps[best]


def int8_numbers(matrix: QuantizedMatrix, layout: Int8Layout, tensors: dict[str, Tensor]) -> Tensor:
    """The matrix in fp32, multiplied in the library's order. Raises ``CheckpointError`` for codes in tiles."""
    _check_rows(matrix, tensors)
    return tensors["weight"].float().mul_(tensors[layout.scales].float().unsqueeze(1)).mul_(1 / LARGEST)


def row_codes(matrix: QuantizedMatrix, layout: Int8Layout, tensors: dict[str, Tensor]) -> GroupedCodes:
    """Those of int8. Raises ``CheckpointError`` for codes in tiles."""
    _check_rows(matrix, tensors)
    scales = tensors[layout.scales].float().unsqueeze(1) / LARGEST
    zeros = torch.full_like(scales, 128, dtype=torch.uint8)
    columns, words = matrix.shape[1], words_of(unsigned(tensors["weight"]), 8)
    return GroupedCodes(8, columns, columns, words, zeros, scales)


def _check_rows(matrix: QuantizedMatrix, tensors: dict[str, Tensor]) -> None:
    if "weight_format" in tensors and tensors["weight_format"].any():
        raise matrix.fault("weight_format", "is not 0; save the model again with a bitsandbytes that stores rows")


def _bytes(weight: Tensor) -> Tensor:
    return weight.flatten().view(torch.uint8)


def _state(matrix: QuantizedMatrix, layout: TableLayout, tensors: dict[str, Tensor]) -> Fields:
    try:
        state = parse_json(bytes(tensors[layout.state].tolist()))
    except ValueError:
        state = None
    if not isinstance(state, dict):
        raise matrix.fault(layout.state, "holds no JSON object")
    fields = Fields(state, f"{matrix.members[layout.state].file}: {matrix.name}: {layout.state}")
    if (shape := fields.integers("shape")) != list(matrix.shape):
        raise matrix.fault(layout.state, f"has the shape {shape}; the configuration asks for {list(matrix.shape)}")
    return fields


def _absmax(matrix: QuantizedMatrix, layout: TableLayout, tensors: dict[str, Tensor], state: Fields) -> Tensor:
    stored = tensors["weight.absmax"].flatten()
    if not layout.nested:
        return stored
    if state.size("nested_blocksize") != NESTED_BLOCK:
        raise CheckpointError(f"{state.where}: nested_blocksize is not {NESTED_BLOCK}, as bitsandbytes has it.")
    numbers = looked_up(tensors["weight.nested_quant_map"], stored)
    nested = tensors["weight.nested_absmax"].flatten()
    absmax = _in_blocks(matrix, "weight.nested_absmax", numbers, nested, NESTED_BLOCK)
    return absmax + state.require("nested_offset", float)


def _in_blocks(matrix: QuantizedMatrix, member: str, numbers: Tensor, absmax: Tensor, size: int) -> Tensor:
    """``numbers``, each times that of ``absmax`` for its block of ``size``. Raises ``CheckpointError``."""
    _check_blocks(matrix, member, len(numbers), absmax, size)
    return numbers.mul_(absmax.repeat_interleave(size)[: len(numbers)])


def _check_blocks(matrix: QuantizedMatrix, member: str, count: int, absmax: Tensor, size: int) -> None:
    blocks = -(-count // size)
    if len(absmax) != blocks:
        raise matrix.fault(member, f"has {len(absmax)} numbers; {count} in blocks of {size} ask for {blocks}")
