"""Decode steps as tapes: the step is described once and then run again in one native call.

A tape is made for each number of rows, the first time it is needed. It reads its inputs from tensors that stay where
they are, and leaves the logits and the likeliest tokens where they were; everything between is native calls, or there
is no tape. What a step computes is valid until the next one, so all tapes compute in the same memory.

A request has a row for its last token, and one for each token of its draft. These see the ones before them in the
cache, as they would one step after the other: to the kernels all rows are requests that decode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from llmrt.engine.planning.memory import row_bytes
from llmrt.engine.request import Request
from llmrt.engine.runners.batch_builder import adapter_number, has_adapters
from llmrt.model.forward_batch import ForwardBatch
from llmrt.model.kv_cache import KVCache
from llmrt.model.modules.decoder import Decoder
from llmrt.ops.registry import resolve
from llmrt.ops.table import ARGMAX
from llmrt_kernels.cpu.tape import Tape, record

_LINE_BYTES = 64


class _NotOnTapeError(Exception):
    """torch computed something that a tape would miss."""


class _Scratch:
    """Memory for what one step computes. The system gives its pages as they are touched, so an unused end is free."""

    def __init__(self, num_bytes: int) -> None:
        self._memory = torch.empty(num_bytes, dtype=torch.uint8)
        self.used = 0

    def place(self, like: Tensor) -> Tensor | None:
        """A tensor of the layout of ``like``, behind those that are placed; None where there is no room for it."""
        start = -(-self.used // _LINE_BYTES) * _LINE_BYTES
        end = start + like.untyped_storage().nbytes()
        if end > len(self._memory):
            return None
        self.used = end
        return self._memory[start:end].view(like.dtype).as_strided(like.shape, like.stride())


class _NativeOnly(TorchDispatchMode):
    """Raises when torch computes; it may make room, in ``scratch`` if given, and look at what is there in another
    shape.
    """

    def __init__(self, scratch: _Scratch | None) -> None:
        super().__init__()
        self._scratch = scratch

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """What torch asks of a mode; True would import its compiler, a second, for a mode that is never compiled."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by torch in the place of each of its operations."""
        kwargs = kwargs or {}
        if func.__name__.startswith("empty"):
            room = self._scratch and self._scratch.place(func(*args, **{**kwargs, "device": "meta"}))
            return func(*args, **kwargs) if room is None else room
        result = func(*args, **kwargs)
        if func._schema.is_mutable or not _is_view(result, args):
            raise _NotOnTapeError(func.__name__)
        return result


def _is_view(result: object, args: tuple[object, ...]) -> bool:
    source = args[0] if args else None
    if not isinstance(result, Tensor) or not isinstance(source, Tensor):
        return False
    return result.untyped_storage().data_ptr() == source.untyped_storage().data_ptr()


def _numbers(tensor: Tensor) -> memoryview[int]:
    """A contiguous int64 tensor's memory. Single numbers are written there sooner than through torch or numpy."""
    return tensor.numpy().data.cast("B").cast("q")


class _Inputs:
    """What a tape of R rows reads, as tensors for recording it and as memory for writing the next step's numbers.

    The block table of row i begins at number i * ``_max_blocks``. ``adapted``: some request has an adapter.
    """

    def __init__(self, rows: int, max_blocks: int, *, adapted: bool) -> None:
        columns = torch.zeros(5, rows, dtype=torch.int64)
        tables = torch.zeros(rows, max_blocks, dtype=torch.int64)
        ids, positions, slots, lens, adapters = columns
        self.batch = ForwardBatch(
            input_ids=ids,
            positions=positions,
            slot_mapping=slots,
            cu_seqlens_q=torch.arange(rows + 1),
            seq_lens=lens,
            block_table=tables,
            max_query_len=1,
            logits_index=None,
            adapters=adapters if adapted else None,
        )
        self._ids, self._positions, self._slots, self._lens, self._adapters = (_numbers(column) for column in columns)
        self._adapted = adapted
        self._tables, self._max_blocks = _numbers(tables), max_blocks

    def write(self, requests: Sequence[Request], block_size: int) -> None:
        """What a shorter block table leaves of an older one after its end is never read."""
        i = 0
        for request in requests:
            table = request.block_table
            tokens = (request.token_ids[-1], *request.draft)
            for position, token_id in enumerate(tokens, request.num_computed_tokens):
                self._ids[i] = token_id
                self._positions[i] = position
                self._slots[i] = table[position // block_size] * block_size + position % block_size
                self._lens[i] = position + 1
                start = i * self._max_blocks
                self._tables[start : start + len(table)] = table
                if self._adapted:
                    self._adapters[i] = adapter_number(request)
                i += 1


class RecordedStep:
    """A recorded step of R rows, with what its last run left: logits [R, V] and the likeliest token of each."""

    def __init__(self, inputs: _Inputs, tape: Tape, logits: Tensor, likeliest: Tensor) -> None:
        self.logits = logits
        self._inputs = inputs
        self._tape = tape
        self._likeliest = _numbers(likeliest)

    def run(self, requests: Sequence[Request], block_size: int) -> None:
        """Compute the rows of ``requests``."""
        self._inputs.write(requests, block_size)
        self._tape.run()

    def likeliest(self) -> list[int]:
        """The likeliest token after each row."""
        return self._likeliest.tolist()


class DecodeTapes:
    """Runs ``decoder`` over steps of requests that decode; ``max_blocks`` is the widest block table.

    Steps of more than ``max_rows`` rows are computed without a tape: what all their layers compute would be kept.
    """

    def __init__(self, decoder: Decoder, kv: KVCache, max_blocks: int, block_size: int, max_rows: int) -> None:
        self._decoder = decoder
        self._kv = kv
        self._max_blocks = max_blocks
        self._block_size = block_size
        self._max_rows = max_rows
        self._scratch = _Scratch(max_rows * row_bytes(decoder.config))
        self._argmax: Callable[[Tensor], Tensor] = resolve(ARGMAX, decoder.spec)
        # By the number of rows, and whether some request has an adapter.
        self._recorded: dict[tuple[int, bool], RecordedStep] = {}
        self.possible = True

    def run(self, requests: Sequence[Request]) -> RecordedStep | None:
        """The step, whose results are valid until the next run; None if this decoder cannot be recorded."""
        kind = sum(1 + len(request.draft) for request in requests), has_adapters(requests)
        step = self._recorded.get(kind)
        if step is None:
            return self._record(requests, kind)
        step.run(requests, self._block_size)
        return step

    def forget_adapters(self) -> None:
        """The matrices of adapters are others from now on."""
        self._recorded = {kind: step for kind, step in self._recorded.items() if not kind[1]}

    @torch.inference_mode()
    def _record(self, requests: Sequence[Request], kind: tuple[int, bool]) -> RecordedStep | None:
        inputs = _Inputs(kind[0], self._max_blocks, adapted=kind[1])
        inputs.write(requests, self._block_size)
        kept = kind[0] <= self._max_rows
        self._scratch.used = 0
        try:
            with record() if kept else nullcontext(Tape()) as tape, _NativeOnly(self._scratch if kept else None):
                logits = self._decoder(inputs.batch, self._kv)
                likeliest = self._argmax(logits)
        except _NotOnTapeError:
            self.possible = False
            return None
        step = RecordedStep(inputs, tape, logits, likeliest)
        if kept:
            self._recorded[kind] = step
        return step
