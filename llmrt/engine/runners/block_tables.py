"""The block tables of running requests as rows of an array, so that a decode step writes only what grew."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmrt.engine.request import Request

Words = npt.NDArray[np.int64]


@dataclass
class _Row:
    """Row ``index`` holds the first ``length`` entries of ``table``; a request that is preempted gets a new table."""

    index: int
    table: array[int]
    length: int = 0


class BlockTables:
    """Tables of up to ``width`` blocks for ``capacity`` requests.

    Entries that became the null block since they were written are left as they were: nobody reads left of a window.
    """

    def __init__(self, capacity: int, width: int) -> None:
        self._array: Words = np.zeros((capacity, width), dtype=np.int64)
        self._rows: dict[Request, _Row] = {}
        self._used = 0  # the longest table so far; nobody reads what is after it
        self._tables: list[array[int]] = []  # of the last step, whose requests had these rows
        self._order: list[_Row] = []
        self._indices: Words = np.zeros(0, dtype=np.int64)

    def gather(self, requests: Sequence[Request], out: Words) -> None:
        """Write the tables of ``requests`` to the rows of ``out`` [B, width]."""
        tables = [request.block_table for request in requests]
        if tables != self._tables:  # while they are the same ones, which grow, nothing is compared
            self._tables, self._order = tables, [self._row(request, requests) for request in requests]
            self._indices = np.array([row.index for row in self._order])
        for row in self._order:
            if row.length != len(row.table):
                self._extend(row)
        out[:, : self._used] = self._array[self._indices, : self._used]

    def _row(self, request: Request, requests: Sequence[Request]) -> _Row:
        row, table = self._rows.get(request), request.block_table
        if row is None:
            row = self._rows[request] = _Row(self._free_index(requests), table)
        if row.table is not table:
            row.table, row.length = table, 0
        return row

    def _extend(self, row: _Row) -> None:
        length = len(row.table)
        self._array[row.index, row.length : length] = row.table[row.length :]
        row.length, self._used = length, max(self._used, length)

    def _free_index(self, requests: Sequence[Request]) -> int:
        if len(self._rows) == len(self._array):
            kept = set(requests)
            self._rows = {request: row for request, row in self._rows.items() if request in kept}
        return min(set(range(len(self._array))) - {row.index for row in self._rows.values()})
