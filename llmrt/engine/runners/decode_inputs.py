"""What a decode step reads on a device, in one piece of memory that one copy fills.

R rows of one token each, of which a step uses some; int64 words:

    [ chosen R | known R | source R | positions R | slot_mapping R | seq_lens R | adapters R | block tables R x W ]

The device writes ``chosen``, the tokens that the last step chose; all else comes from the host. ``source`` of a row is
the word that has its token: in ``chosen`` if the host does not know it yet, else in ``known``. ``adapters`` are read
only by steps in which some request has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from llmrt.engine.kv.block_pool import NULL_BLOCK
from llmrt.engine.request import PENDING, Request
from llmrt.engine.runners.batch_builder import NO_ADAPTER, adapter_number
from llmrt.engine.runners.block_tables import BlockTables, Words
from llmrt.engine.runners.decode_rows import DecodeRows
from llmrt.engine.runners.device import StepDevice
from llmrt.model.forward_batch import ForwardBatch

FIELDS = 6  # of R words each, that the host writes


class DecodeInputs:
    """Room for ``capacity`` rows with block tables of ``width`` blocks; ``chosen`` [R] as above."""

    def __init__(self, device: StepDevice, capacity: int, width: int, block_size: int) -> None:
        size = capacity * (FIELDS + width)
        self._device = device
        self._capacity, self._width, self._block_size = capacity, width, block_size
        self._words = torch.zeros(capacity + size, dtype=torch.int64, device=device.device)
        self.chosen, self._from_host = self._words.split([capacity, size])
        # A copy from one may still wait when the next step is written, but not when the step after that is.
        self._host = [_HostRows(device.host_buffer(size, torch.int64), capacity, width) for _ in range(2)]
        self._cu_seqlens = torch.arange(capacity + 1, device=device.device)
        self._tables = BlockTables(capacity, width)

    def batch(self, rows: int, *, adapted: bool) -> ForwardBatch:
        """The first ``rows`` rows. Its tensors stay where they are, but for ``input_ids``, which are looked up now."""
        fields = self._words[: self._tables_at].view(-1, self._capacity)
        _, _, source, positions, slot_mapping, seq_lens, adapters = fields
        return ForwardBatch(
            input_ids=self._words[source[:rows]],
            positions=positions[:rows],
            slot_mapping=slot_mapping[:rows],
            cu_seqlens_q=self._cu_seqlens[: rows + 1],
            seq_lens=seq_lens[:rows],
            block_table=self._words[self._tables_at :].view(self._capacity, self._width)[:rows],
            max_query_len=1,
            logits_index=None,
            adapters=adapters[:rows] if adapted else None,
        )

    def write(self, rows: DecodeRows, padded: int, chosen: Sequence[Request], *, adapted: bool) -> None:
        """Hand over ``rows``, and padding up to so many; ``adapted`` if some request has an adapter.

        The last step chose tokens for the requests ``chosen``, in their order.
        """
        self._host.reverse()
        host, count = self._host[0], rows.count
        self._tables.gather(rows.requests, host.tables[:count])
        host.write(rows, self._sources(rows, chosen), self._block_size)
        if adapted:
            host.write_adapters(rows.requests)
        if count < padded:
            host.pad(count, padded, self._capacity + count)
        size = self._tables_at - self._capacity + padded * self._width
        self._device.copy(self._from_host[:size], host.words[:size])

    @property
    def _tables_at(self) -> int:
        return self._capacity * (1 + FIELDS)

    def _sources(self, rows: DecodeRows, chosen: Sequence[Request]) -> list[int]:
        if rows.requests == chosen and rows.token_ids.count(PENDING) == rows.count:  # nobody came and nobody left
            return list(range(rows.count))
        places = {request: place for place, request in enumerate(chosen)}
        return [
            places[request] if token_id == PENDING else word
            for word, (request, token_id) in enumerate(zip(rows.requests, rows.token_ids, strict=True), self._capacity)
        ]


class _HostRows:
    """The words that the host writes, as arrays."""

    def __init__(self, words: Tensor, capacity: int, width: int) -> None:
        self.words = words
        array: Words = words.numpy()
        borders = range(0, capacity * (FIELDS + 1), capacity)
        self._known, self._source, self._positions, self._slots, self._seq_lens, self._adapters = (
            array[start:end] for start, end in pairwise(borders)
        )
        self.tables = array[borders[-1] :].reshape(capacity, width)
        self._row_numbers = np.arange(capacity)

    def write(self, rows: DecodeRows, sources: Sequence[int], block_size: int) -> None:
        """The first rows, all but their block tables, which are there."""
        count = rows.count
        positions = self._positions[:count]
        positions[:] = rows.positions
        self._known[:count] = rows.token_ids
        self._source[:count] = sources
        self._seq_lens[:count] = positions + 1
        pages = self.tables[self._row_numbers[:count], positions // block_size]
        self._slots[:count] = pages * block_size + positions % block_size

    def write_adapters(self, requests: Sequence[Request]) -> None:
        """Those of the first rows; they are read only by steps in which some request has one."""
        self._adapters[: len(requests)] = [adapter_number(request) for request in requests]

    def pad(self, count: int, rows: int, source: int) -> None:
        """Rows ``count`` to ``rows``: the token 0 of row ``count``, written to the null block where it sees itself."""
        for field, value in (
            (self._known, 0),
            (self._source, source),
            (self._positions, 0),
            (self._slots, NULL_BLOCK),
            (self._seq_lens, 1),
            (self._adapters, NO_ADAPTER),
            (self.tables, NULL_BLOCK),
        ):
            field[count:rows] = value
