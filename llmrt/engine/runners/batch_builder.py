"""From what was scheduled to the decoder's input."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from llmrt.engine.kv.block_pool import NULL_BLOCK
from llmrt.engine.request import Request
from llmrt.engine.scheduler import PromptEnd, SchedulerOutput
from llmrt.model.forward_batch import ForwardBatch

CPU = torch.device("cpu")


@dataclass(frozen=True)
class BatchRows:
    """A step's numbers as lists, named as in ``ForwardBatch``; ``last_rows`` are those that a token is chosen for.

    ``adapters`` is empty where no request has one.
    """

    input_ids: list[int]
    positions: list[int]
    slot_mapping: list[int]
    cu_seqlens_q: list[int]
    seq_lens: list[int]
    block_tables: list[array[int]]
    last_rows: list[int]
    adapters: list[int]

    def batch(self, device: torch.device = CPU) -> ForwardBatch:
        """The same as tensors."""

        def tensor(values: Sequence[int] | Sequence[Sequence[int]]) -> Tensor:
            return torch.tensor(values, dtype=torch.int64, device=device)

        return ForwardBatch(
            input_ids=tensor(self.input_ids),
            positions=tensor(self.positions),
            slot_mapping=tensor(self.slot_mapping),
            cu_seqlens_q=tensor(self.cu_seqlens_q),
            seq_lens=tensor(self.seq_lens),
            block_table=tensor(_padded(self.block_tables)),
            max_query_len=max(end - start for start, end in pairwise(self.cu_seqlens_q)),
            logits_index=None if len(self.last_rows) == len(self.input_ids) else tensor(self.last_rows),
            adapters=tensor(self.adapters) if self.adapters else None,
        )


NO_ADAPTER = -1


def has_adapters(requests: Iterable[Request]) -> bool:
    """Whether a request has a LoRA adapter."""
    return any(request.adapter is not None for request in requests)


def adapter_number(request: Request) -> int:
    """See ``ForwardBatch.adapters``."""
    return NO_ADAPTER if request.adapter is None else request.adapter.number


def ends_in_step(request: Request, num_tokens: int) -> bool:
    """Whether the request's last known token is computed, so that the next can be chosen."""
    return num_tokens == request.num_uncomputed_tokens


def chooses_in_step(request: Request, num_tokens: int) -> bool:
    """Whether the step chooses a token for the request."""
    return ends_in_step(request, num_tokens) and not request.ends_with_prompt


def prompt_ends(scheduled: SchedulerOutput) -> dict[Request, PromptEnd]:
    """What a step gives the requests that end with their prompts and have no vector."""
    return {
        request: PromptEnd()
        for request, num_tokens in scheduled.items()
        if request.ends_with_prompt and request.pooling is None and ends_in_step(request, num_tokens)
    }


def lay_out(scheduled: SchedulerOutput, block_size: int) -> BatchRows:
    """Lay the scheduled tokens of all requests one after the other."""
    input_ids: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    adapters: list[int] = []
    adapted = has_adapters(scheduled)
    for request, num_tokens in scheduled.items():
        span = range(request.num_computed_tokens, request.num_computed_tokens + num_tokens)
        input_ids += request.token_ids[span.start : span.stop]
        positions += span
        slots += [request.block_table[p // block_size] * block_size + p % block_size for p in span]
        if adapted:
            adapters += [adapter_number(request)] * num_tokens
    ends = list(accumulate(scheduled.values()))
    return BatchRows(
        input_ids=input_ids,
        positions=positions,
        slot_mapping=slots,
        cu_seqlens_q=[0, *ends],
        seq_lens=[r.num_computed_tokens + n for r, n in scheduled.items()],
        block_tables=[r.block_table for r in scheduled],
        last_rows=[end - 1 for (r, n), end in zip(scheduled.items(), ends, strict=True) if chooses_in_step(r, n)],
        adapters=adapters,
    )


def _padded(tables: Sequence[Sequence[int]]) -> list[list[int]]:
    width = max(len(table) for table in tables)
    return [[*table, *[NULL_BLOCK] * (width - len(table))] for table in tables]
