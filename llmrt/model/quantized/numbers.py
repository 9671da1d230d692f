"""From the tensors of a quantized matrix to its numbers."""

from __future__ import annotations

from torch import Tensor

from llmrt.model.quantized.bitsandbytes import int8_numbers, table_numbers
from llmrt.model.quantized.bitsandbytes_headers import Int8Layout, TableLayout
from llmrt.model.quantized.compressed import packed_codes
from llmrt.model.quantized.compressed_headers import PackedLayout
from llmrt.model.quantized.grouped import awq_codes, gptq_codes
from llmrt.model.quantized.grouped_headers import AwqLayout, GptqLayout
from llmrt.model.quantized.matrix import QuantizedMatrix
from llmrt.model.quantized.scaled import scaled_numbers
from llmrt.model.quantized.scaled_headers import ScaledLayout
from llmrt.model.quantized.unpack import GroupedCodes
from llmrt.ops.types import DTYPES


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
            codes = codes_of(matrix, tensors)
            assert codes is not None
            numbers = codes.numbers()
    return numbers.to(DTYPES[matrix.dtype])


def codes_of(matrix: QuantizedMatrix, tensors: dict[str, Tensor]) -> GroupedCodes | None:
    """Its codes, None where it has none in groups. Raises ``CheckpointError``."""
    match matrix.layout:
        case GptqLayout() as layout:
            return gptq_codes(matrix, layout, tensors)
        case AwqLayout() as layout:
            return awq_codes(matrix, layout, tensors)
        case PackedLayout() as layout:
            return packed_codes(matrix, layout, tensors)
        case _:
            return None
