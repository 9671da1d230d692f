"""What adapters add to a product. The contract is the reference's."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from llmrt_kernels.cpu.addresses import activations_args, adapter_args, address
from llmrt_kernels.cpu.linear import empty_rows
from llmrt_kernels.cpu.structs import MAX_PIECES, AdapterArgs, LoraArgs
from llmrt_kernels.cpu.tape import submit
from llmrt_kernels.low_rank import LowRankTable
from llmrt_kernels.packed import BLOCK, Codes, Rows

_tables: WeakKeyDictionary[LowRankTable, Table] = WeakKeyDictionary()


class Table:
    """A table as the kernel reads it: the addresses of its matrices, which it keeps; the largest rank; K."""

    def __init__(self, table: LowRankTable) -> None:
        pieces = [piece for adapter in table.adapters for piece in adapter]
        self.args = (AdapterArgs * len(table.adapters))(*map(adapter_args, table.adapters))
        self.matrices = [matrix.data for piece in pieces for matrix in (piece.a, piece.b)]
        self.max_rank = max(piece.a.rows for piece in pieces)
        (self.columns,) = {_columns(piece.a.data) for piece in pieces}


def lora(
    x: Codes | Rows,
    adapters: Tensor,
    table: LowRankTable,
    residual: Tensor | None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """x [T, K], residual [T, N] fp32 -> [T, N] fp32."""
    assert dtype == torch.float32
    native = _native(table)
    wide = empty_rows(x.num_tokens, native.columns, torch.float32)
    shrunk = torch.empty(MAX_PIECES, x.num_tokens, native.max_rank + BLOCK)
    y = torch.empty(x.num_tokens, table.rows)
    args = LoraArgs(
        activations_args(x),
        address(adapters),
        native.args,
        len(table.adapters),
        native.max_rank,
        activations_args(wide),
        address(shrunk),
        address(residual),
        address(y),
        x.num_tokens,
        table.rows,
    )
    submit("lora", args, x, adapters, *native.matrices, wide, shrunk, residual, y)
    return y


def _native(table: LowRankTable) -> Table:
    """Made once: it takes longer than a step's product."""
    native = _tables.get(table)
    if native is None:
        native = _tables[table] = Table(table)
    return native


def _columns(data: Tensor) -> int:
    """K of a matrix of floats in blocks."""
    _, lines, _, pair = data.shape
    return lines * pair
