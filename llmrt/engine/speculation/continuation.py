"""A sequence that a draft model continues by its likeliest tokens. Free of torch.

    computed ... | known tokens that are not, one a step | guesses, each from the one before it
                                                         ^ known
Where steps are late, one is launched before the guess that it begins with is known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from time import perf_counter
from typing import NamedTuple

from llmrt.engine.request import PENDING, Request
from llmrt.engine.runners.runner import Flight, StepLauncher
from llmrt.engine.scheduler import SampledToken


class Continuation:
    """Lengthens ``request``, all of whose tokens are known, by ``count`` guesses, until they are taken from it."""

    def __init__(self, request: Request, count: int) -> None:
        self.request = request
        self._start, self._known = request.num_computed_tokens, len(request.token_ids)
        self._end = self._known + count
        self._ahead = deque(request.token_ids[self._start + 1 :])
        del request.token_ids[self._start + 1 :]

    @property
    def goes_on(self) -> bool:
        """Whether it has a step yet to take."""
        return len(self.request.token_ids) < self._end

    def advance(self) -> None:
        """Its step was launched."""
        self.request.num_computed_tokens += 1
        self.request.token_ids.append(self._ahead.popleft() if self._ahead else PENDING)

    def take_guesses(self) -> list[int]:
        """Its guesses; the request is as it was."""
        token_ids = self.request.token_ids
        guesses = token_ids[self._known :]
        del token_ids[self._known :]
        self.request.num_computed_tokens = self._start
        return guesses


class Step(NamedTuple):
    """One of ``rows`` requests, and the ``seconds`` that it took."""

    rows: int
    seconds: float


def complete(continuations: Sequence[Continuation], runner: StepLauncher) -> list[Step]:
    """Let all go on, side by side, until they have their guesses; returns the steps of that."""
    flights, rows, times = deque[Flight](), list[int](), [perf_counter()]
    while going := [each for each in continuations if each.goes_on]:
        flight = runner.launch({each.request: 1 for each in going})
        _settle(flights, times)
        for each in going:
            each.advance()
        flights.append(flight)
        rows.append(len(going))
        if not flight.is_late:
            _settle(flights, times)
    _settle(flights, times)
    return [Step(count, end - start) for count, (start, end) in zip(rows, pairwise(times), strict=True)]


def _settle(flights: deque[Flight], times: list[float]) -> None:
    """Take what came of ``flights``, and when."""
    while flights:
        for request, result in flights.popleft().wait().items():
            assert isinstance(result, SampledToken)
            if request.token_ids[-1] == PENDING:
                request.token_ids[-1] = result.token_id
        times.append(perf_counter())
