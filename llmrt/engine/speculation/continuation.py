"""A sequence that a draft model continues by its likeliest tokens. Free of torch.

    computed ... | known tokens that are not, one a step | guesses, each from the one before it
                                                         ^ known
Where steps are late, one is sent off before the guess that it begins with is known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from llmrt.engine.request import PENDING, Request
from llmrt.engine.runner import Flight, StepSender
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
        """Its step was sent off."""
        self.request.num_computed_tokens += 1
        self.request.token_ids.append(self._ahead.popleft() if self._ahead else PENDING)

    def take_guesses(self) -> list[int]:
        """Its guesses; the request is as it was."""
        token_ids = self.request.token_ids
        guesses = token_ids[self._known :]
        del token_ids[self._known :]
        self.request.num_computed_tokens = self._start
        return guesses


def complete(continuations: Sequence[Continuation], runner: StepSender) -> None:
    """Let all go on, side by side, until they have their guesses."""
    flights = deque[Flight]()
    while going := [each for each in continuations if each.goes_on]:
        flight = runner.launch({each.request: 1 for each in going})
        _settle(flights)
        for each in going:
            each.advance()
        flights.append(flight)
        if not flight.is_late:
            _settle(flights)
    _settle(flights)


def _settle(flights: deque[Flight]) -> None:
    while flights:
        for request, result in flights.popleft().wait().items():
            assert isinstance(result, SampledToken)
            if request.token_ids[-1] == PENDING:
                request.token_ids[-1] = result.token_id
