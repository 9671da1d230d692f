"""From what was scheduled to the decoder's input."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from llmrt.engine.kv.block_pool import NULL_BLOCK
from llmrt.engine.request import Request
from llmrt.engine.scheduler import SchedulerOutput
from llmrt.model.forward_batch import ForwardBatch


def ends_in_step(request: Request, num_tokens: int) -> bool:
    """Whether the request's last known token is computed, so that the next can be chosen."""
    return num_tokens == request.num_uncomputed_tokens


def build_batch(scheduled: SchedulerOutput, block_size: int, device: torch.device) -> ForwardBatch:
    """Lay the scheduled tokens of all requests one after the other."""

    def tensor(values: Sequence[int] | Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=device)

    input_ids: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    for request, num_tokens in scheduled.items():
        span = range(request.num_computed_tokens, request.num_computed_tokens + num_tokens)
        input_ids += request.token_ids[span.start : span.stop]
        positions += span
        slots += [request.block_table[p // block_size] * block_size + p % block_size for p in span]
    ends = list(accumulate(scheduled.values()))
    last_rows = [end - 1 for (r, n), end in zip(scheduled.items(), ends, strict=True) if ends_in_step(r, n)]
    return ForwardBatch(
        input_ids=tensor(input_ids),
        positions=tensor(positions),
        slot_mapping=tensor(slots),
        cu_seqlens_q=tensor([0, *ends]),
        seq_lens=tensor([r.num_computed_tokens + n for r, n in scheduled.items()]),
        block_table=tensor(_padded([r.block_table for r in scheduled])),
        logits_index=None if len(last_rows) == len(input_ids) else tensor(last_rows),
    )


def _padded(tables: Sequence[Sequence[int]]) -> list[list[int]]:
    width = max(len(table) for table in tables)
    return [[*table, *[NULL_BLOCK] * (width - len(table))] for table in tables]
