"""How likely the tokens of prompts were, from the residual streams of steps that compute them.

The row of token t has the logits of what follows it, so its log-probabilities are those of the prompt's token t + 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from llmrt.engine.request import Request
from llmrt.engine.sampling.sampler import report
from llmrt.engine.scheduler import SchedulerOutput

_ROWS = 32  # whose logits are in memory at once


@dataclass(frozen=True)
class ScoredRows:
    """The rows from ``start`` on are followed by the tokens ``targets`` of the prompt, which begin at ``position``."""

    request: Request
    start: int
    position: int
    targets: Sequence[int]


def scored_rows(scheduled: SchedulerOutput) -> list[ScoredRows]:
    """The rows of a step that are of prompts whose tokens are reported on."""
    rows: list[ScoredRows] = []
    start = 0
    for request, num_tokens in scheduled.items():
        if request.reports_prompt:
            position = request.num_computed_tokens + 1
            rows.append(ScoredRows(request, start, position, request.token_ids[position : position + num_tokens]))
        start += num_tokens
    return rows


def score(stream: Tensor, rows: Sequence[ScoredRows], head: Callable[[Tensor], Tensor]) -> None:
    """Note the log-probabilities with the requests. stream [T, hidden], of which ``head`` makes logits [T, V]."""
    for part in rows:
        num_top = part.request.params.prompt_logprobs
        assert num_top is not None
        known = part.request.prompt_logprobs
        del known[part.position - 1 :]  # from before it was preempted
        for i in range(0, len(part.targets), _ROWS):
            targets = part.targets[i : i + _ROWS]
            first = part.start + i
            known += report(head(stream[first : first + len(targets)]).float(), targets, num_top)
