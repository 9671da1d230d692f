"""From the tensors of a quantized matrix to its numbers, or to its codes."""

from __future__ import annotations

from torch import Tensor

from llmrt.model.quantized.bitsandbytes import int8_numbers, row_codes, table_codes, table_numbers
from llmrt.model.quantized.bitsandbytes_headers import Int8Layout, TableLayout
from llmrt.model.quantized.compressed import packed_codes
from llmrt.model.quantized.compressed_headers import PackedLayout
from llmrt.model.quantized.grouped import awq_codes, gptq_codes
from llmrt.model.quantized.grouped_headers import AwqLayout, GptqLayout
from llmrt.model.quantized.matrix import QuantizedMatrix
from llmrt.model.quantized.scaled import int8_codes, scaled_numbers
from llmrt.model.quantized.scaled_headers import ScaledLayout
from llmrt.model.quantized.unpack import GroupedCodes
from llmrt.ops.types import DTYPES
from llmrt.quant.stored_codes import StoredCodes


def numbers_of(matrix: QuantizedMatrix, tensors: dict[str, Tensor]) -> Tensor:
    """The matrix as the tool that quantized it computes it, in its dtype. Raises ``CheckpointError``."""
    match matrix.layout:
        case TableLayout() as layout:
            numbers = table_numbers(matrix, layout, tensors)
        case Int8Layout() as layout:
            numbers = int8_numbers(matrix, layout, tensors)
        case ScaledLayout() as layout:
            numbers = scaled_numbers(matrix, layout, tensors)
        case _:
            numbers = _codes(matrix, tensors).numbers()
    return numbers.to(DTYPES[matrix.dtype])


def codes_of(matrix: QuantizedMatrix, tensors: dict[str, Tensor]) -> StoredCodes | None:
    """Its codes in the scheme of its layout, None where numbers are rounded for that. Raises ``CheckpointError``."""
    if isinstance(matrix.layout, TableLayout):
        return table_codes(matrix, matrix.layout, tensors)
    scheme = matrix.layout.scheme
    if scheme is None:
        return None
    kept = _codes(matrix, tensors).kept(scheme)
    if kept is None:
        raise matrix.fault(matrix.layout.weight, "has codes too far from a zero for what the configuration says")
    return kept


def _codes(matrix: QuantizedMatrix, tensors: dict[str, Tensor]) -> GroupedCodes:
    match matrix.layout:
        case GptqLayout() as layout:
            return gptq_codes(matrix, layout, tensors)
        case AwqLayout() as layout:
            return awq_codes(matrix, layout, tensors)
        case PackedLayout() as layout:
            return packed_codes(matrix, layout, tensors)
        case ScaledLayout() as layout:
            return int8_codes(matrix, layout, tensors)
        case Int8Layout() as layout:
            return row_codes(matrix, layout, tensors)
        case _:
            raise AssertionError(matrix.layout)
