"""The vector of a text from the final hidden states of its tokens, which come in chunks.

    mean    sum of h[t] over t = 0..T-1, divided by T      in fp64, so that the cut into chunks does not show
    last    h[T-1]

h is the residual stream after the last layer and the final norm: transformers' ``last_hidden_state``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from llmrt.engine.request import Request
from llmrt.engine.runners.batch_builder import ends_in_step
from llmrt.engine.scheduler import PromptEnd, SchedulerOutput
from llmrt.model.modules.norm import LayerNorm, RMSNorm


@dataclass(frozen=True)
class PooledRows:
    """The rows ``start`` to ``end`` of a step are a request's tokens from ``position`` on, to its last if ``ends``."""

    request: Request
    start: int
    end: int
    position: int
    ends: bool


def pooled_rows(scheduled: SchedulerOutput) -> list[PooledRows]:
    """The rows of a step that belong to requests with pooling."""
    rows: list[PooledRows] = []
    start = 0
    for request, num_tokens in scheduled.items():
        if request.pooling is not None:
            ends = ends_in_step(request, num_tokens)
            rows.append(PooledRows(request, start, start + num_tokens, request.num_computed_tokens, ends))
        start += num_tokens
    return rows


class Pooler:
    """Pools what the decoder's last ``norm`` makes of the stream; keeps the sums of texts that are not complete."""

    def __init__(self, norm: RMSNorm | LayerNorm) -> None:
        self._norm = norm
        self._sums = WeakKeyDictionary[Request, Tensor]()

    def pool(self, stream: Tensor, rows: Sequence[PooledRows]) -> list[Tensor]:
        """The vectors [hidden] fp32 of the requests that end in ``rows``. stream [T, hidden]."""
        vectors = [self._add(part, stream[part.start : part.end]) for part in rows]
        return [vector for vector, part in zip(vectors, rows, strict=True) if part.ends]

    def _add(self, part: PooledRows, stream: Tensor) -> Tensor:
        request = part.request
        if request.pooling == "last":
            return self._norm.states(stream[-1:])[0]
        total = self._norm.states(stream).double().sum(0)
        if part.position > 0:  # else it begins, perhaps once more after it was preempted
            total += self._sums[request]
        self._sums[request] = total
        return (total / request.num_prompt_tokens).float()


def pooled_vectors(rows: Sequence[PooledRows], vectors: Sequence[Tensor]) -> dict[Request, PromptEnd]:
    """What ``Pooler.pool`` gave, for the scheduler. Waits for the device."""
    ending = [part.request for part in rows if part.ends]
    if not ending:
        return {}
    table = torch.stack(list(vectors)).cpu().numpy().astype("<f4")
    return {request: PromptEnd(row.tobytes()) for request, row in zip(ending, table, strict=True)}
