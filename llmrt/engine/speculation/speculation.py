"""Which guesses the next step verifies, and what comes of them. Free of torch.

    guess | how many pay? | schedule | execute 1 + n rows a request | update: those that were right and one | learn

A request takes the token that it would have taken anyway, from the logits of its place; a guess is right if it is that
token, and then the logits of the next place, computed in the same step, are right too. So it does not matter where
guesses come from: greedy answers, drawn ones and those that follow a grammar are the same with them and without.

Guesses that are not verified teach as well: the token that comes tells whether the first was right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, repeat, takewhile
from operator import mul
from typing import NamedTuple
from weakref import WeakKeyDictionary

from llmrt.engine.request import Request
from llmrt.engine.scheduler import SchedulerOutput
from llmrt.engine.speculation.acceptance import Acceptance
from llmrt.engine.speculation.draft_lengths import draft_lengths
from llmrt.engine.speculation.proposer import Proposer
from llmrt.engine.speculation.step_times import StepTimes

_MOST = 15  # guesses of a request in a step


class _Guess(NamedTuple):
    """Tokens that may follow the first ``known`` ones of a request."""

    token_ids: list[int]
    known: int


class Speculation:
    """Gives requests their drafts, and learns what these are worth: ``num_drafts`` were verified so far."""

    def __init__(self, proposer: Proposer) -> None:
        self.num_drafts = self.num_draft_tokens = self.num_accepted_tokens = 0
        self._proposer = proposer
        self._times = StepTimes()
        self._acceptance = WeakKeyDictionary[Request, Acceptance]()
        self._guesses: dict[Request, _Guess] = {}

    def warm_up(self) -> None:
        """See ``Proposer``."""
        self._proposer.warm_up()

    def draft(self, requests: Sequence[Request]) -> None:
        """Give each of ``requests``, all that decode, the guesses that its next step verifies."""
        lengths = self._guess(requests, self._counts(requests))
        for (request, guess), length in zip(self._guesses.items(), lengths, strict=True):
            request.draft = tuple(guess.token_ids[:length])

    def foresee(self, requests: Sequence[Request]) -> bool:
        """Whether ``draft`` would give them some.

        Guesses that cost nothing are made, and compared with what comes: so it is known how good they would be.
        """
        counts = self._counts(requests)
        if self._proposer.seconds_per_token and any(counts):
            return True
        return any(self._guess(requests, counts))

    def _counts(self, requests: Sequence[Request]) -> list[int]:
        """How many guesses to make for each: where they cost something no more than will be verified."""
        ends = [min(r.max_length - len(r.token_ids) - 1, self._proposer.reach(r)) for r in requests]
        counts = [max(0, min(_MOST, end)) for end in ends]
        cost = self._proposer.seconds_per_token
        return self._lengths(requests, counts, cost) if cost else counts

    def _guess(self, requests: Sequence[Request], counts: Sequence[int]) -> list[int]:
        """Make so many guesses for each; returns how many of them pay."""
        proposals = map(_before_stop, requests, self._proposer.propose(requests, counts))
        self._guesses = {r: _Guess(own, len(r.token_ids)) for r, own in zip(requests, proposals, strict=True)}
        return self._lengths(requests, [len(guess.token_ids) for guess in self._guesses.values()])

    def learn(self, scheduled: SchedulerOutput, seconds: float) -> None:
        """A step with drafts was computed in ``seconds``, and its tokens are the requests'."""
        self._times.measured(sum(scheduled.values()), _mean_keys(scheduled), seconds)
        for request, guess in self._guesses.items():
            num_drafted, came = scheduled.get(request, 1) - 1, request.token_ids[guess.known :]
            self._accepted(request).observe(guess.token_ids, came)
            if num_drafted:
                self.num_drafts += 1
                self.num_draft_tokens += num_drafted
                self.num_accepted_tokens += len(came) - 1
        self._guesses = {}

    def _lengths(self, requests: Sequence[Request], counts: Sequence[int], cost: float = 0.0) -> list[int]:
        """How many guesses of each pay where there may be ``counts`` of them and each has yet a ``cost`` in seconds."""
        if not any(counts):
            return [0] * len(requests)
        keys = _mean_keys(requests)

        def seconds(rows: int) -> float | None:
            step = self._times.seconds(rows, keys)
            return None if step is None else step + (rows - len(requests)) * cost

        return draft_lengths([self._chances(*pair) for pair in zip(requests, counts, strict=True)], seconds)

    def _chances(self, request: Request, count: int) -> list[float]:
        """That the first guess is right, that the first two are, and so on."""
        return list(accumulate(repeat(self._accepted(request).chance, count), mul))

    def _accepted(self, request: Request) -> Acceptance:
        return self._acceptance.setdefault(request, Acceptance())


def _before_stop(request: Request, guessed: Sequence[int]) -> list[int]:
    """A guess that ends the request is not worth a row: the token before it gives that away."""
    return list(takewhile(lambda token_id: token_id not in request.params.stop_token_ids, guessed))


def _mean_keys(requests: Iterable[Request]) -> int:
    lengths = [len(request.token_ids) for request in requests]
    return sum(lengths) // len(lengths)
