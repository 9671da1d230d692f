"""Decode steps as tapes: the step is described once and then run again in one native call.

A tape is made for each number of requests, the first time it is needed. It reads its inputs from tensors that stay
where they are, and leaves the logits where they were; everything between is native calls, or there is no tape.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from llmrt.engine.batch_builder import BatchRows
from llmrt.model.decoder import Decoder
from llmrt.model.forward_batch import ForwardBatch
from llmrt.model.kv_cache import KVCache
from llmrt_kernels.cpu.tape import Tape, record


class _NotOnTapeError(Exception):
    """torch computed something that a tape would miss."""


class _NativeOnly(TorchDispatchMode):
    """Raises when torch computes; it may make room, and look at what is there in another shape."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """What torch asks of a mode; True would import its compiler, a second, for a mode that is never compiled."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by torch in the place of each of its operations."""
        result = func(*args, **(kwargs or {}))
        harmless = func.__name__.startswith("empty") or _is_view(result, args)
        if func._schema.is_mutable or not harmless:
            raise _NotOnTapeError(func.__name__)
        return result


def _is_view(result: object, args: tuple[object, ...]) -> bool:
    source = args[0] if args else None
    if not isinstance(result, Tensor) or not isinstance(source, Tensor):
        return False
    return result.untyped_storage().data_ptr() == source.untyped_storage().data_ptr()


class _Recorded:
    """A tape with the tensors that it reads, as arrays, and the logits that it leaves."""

    def __init__(self, batch: ForwardBatch, tape: Tape, logits: Tensor) -> None:
        self.tape = tape
        self.logits = logits
        self._inputs = [t.numpy() for t in (batch.input_ids, batch.positions, batch.slot_mapping, batch.seq_lens)]
        self._block_table = batch.block_table.numpy()

    def write(self, rows: BatchRows) -> None:
        """Put the next step's numbers where the tape reads them; cu_seqlens_q is that of any step of as many requests.

        What a shorter table leaves of an older one behind it is never read.
        """
        values = (rows.input_ids, rows.positions, rows.slot_mapping, rows.seq_lens)
        for own, new in zip(self._inputs, values, strict=True):
            own[:] = new
        for own, table in zip(self._block_table, rows.block_tables, strict=True):
            own[: len(table)] = table


class DecodeTapes:
    """Runs ``decoder`` over batches of one token a request; ``max_blocks`` is the widest block table."""

    def __init__(self, decoder: Decoder, kv: KVCache, max_blocks: int) -> None:
        self._decoder = decoder
        self._kv = kv
        self._max_blocks = max_blocks
        self._recorded: dict[int, _Recorded] = {}
        self.possible = True

    def run(self, rows: BatchRows) -> Tensor | None:
        """Logits [B, V], valid until the next run; None if this decoder cannot be recorded."""
        recorded = self._recorded.get(len(rows.input_ids))
        if recorded is None:
            return self._record(rows)
        recorded.write(rows)
        recorded.tape.run()
        return recorded.logits

    def _record(self, rows: BatchRows) -> Tensor | None:
        batch = rows.batch(torch.device("cpu"))
        own = replace(batch, block_table=F.pad(batch.block_table, (0, self._max_blocks - batch.block_table.shape[1])))
        try:
            with record() as tape, _NativeOnly():
                logits = self._decoder(own, self._kv)
        except _NotOnTapeError:
            self.possible = False
            return None
        self._recorded[len(rows.input_ids)] = _Recorded(own, tape, logits)
        return logits
