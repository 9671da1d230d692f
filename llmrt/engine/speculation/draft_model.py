"""Guesses by a smaller model of the same vocabulary.

It has a KV cache of its own, whose blocks are given out as the engine's are, and in it a request for each of the
engine's, with the tokens that are known. Its guesses are written after them, and overwritten where they were wrong.
Its guesses are the likeliest tokens, also for requests whose tokens are drawn. Free of torch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from statistics import median

from llmrt.engine.kv.manager import KVCacheManager
from llmrt.engine.request import Request, SamplingParams
from llmrt.engine.runners.runner import StepLauncher
from llmrt.engine.speculation.continuation import Continuation, Step, complete

_GREEDY = SamplingParams(temperature=0)
_SAMPLES = 9  # of which the median is what a guess takes


@dataclass(eq=False)
class _Follower:
    """A request as the draft model has it, and its last guesses: all but the last of them are in the cache."""

    request: Request
    guesses: list[int] = field(default_factory=list[int])

    def follow(self, token_ids: Sequence[int]) -> int:
        """Take over what came; returns how many tokens are in the cache since, for guesses that came true are."""
        came, self.guesses, guesses = token_ids[len(self.request.token_ids) :], [], self.guesses
        self.request.token_ids += came
        right = takewhile(lambda pair: pair[0] == pair[1], zip(guesses[:-1], came, strict=False))
        return min(len(came), 1 + len(list(right))) if guesses else 0


class DraftModel:
    """See ``Proposer``. ``chunk`` tokens of a prompt are computed at once, and requests of up to ``context_length``."""

    def __init__(self, runner: StepLauncher, kv: KVCacheManager, *, chunk: int, context_length: int) -> None:
        self._runner, self._kv = runner, kv
        self._chunk, self._context_length = chunk, context_length
        self._followers: dict[Request, _Follower] = {}
        self._left_out = set[Request]()  # until another one's blocks come back
        self._seconds = deque[float]([0.0], maxlen=_SAMPLES)
        self._begun = set[int]()

    @property
    def seconds_per_token(self) -> float:
        """See ``Proposer``. At least what is worth measuring: guesses are made where they may pay."""
        return max(1e-6, median(self._seconds))

    def warm_up(self) -> None:
        """See ``Proposer``."""
        self._runner.warm_up(self._chunk)

    def reach(self, request: Request) -> int:
        """See ``Proposer``."""
        return 0 if request in self._left_out else self._context_length - len(request.token_ids)

    def propose(self, requests: Sequence[Request], counts: Sequence[int]) -> list[list[int]]:
        """See ``Proposer``."""
        self._forget_all_but(requests)
        ready = {r: count for r, count in zip(requests, counts, strict=True) if count and self._catches_up(r, count)}
        self._guess(ready)
        return [self._followers[request].guesses if request in ready else [] for request in requests]

    def _forget_all_but(self, requests: Collection[Request]) -> None:
        self._left_out.intersection_update(requests)
        for gone in self._followers.keys() - set(requests):
            self._forget(gone)
            self._left_out.clear()

    def _forget(self, request: Request) -> None:
        if follower := self._followers.pop(request, None):
            self._kv.free(follower.request)

    def _catches_up(self, request: Request, count: int) -> bool:
        """Whether it can go on by so many guesses at once; at most a chunk of what is missing for that is computed.

        One that there are no blocks for, or that has tokens of no text, is left out.
        """
        if not self._knows(request) or not self._has_blocks(request, count):
            self._forget(request)
            self._left_out.add(request)
            return False
        own = self._followers[request].request
        missing = own.num_uncomputed_tokens - 1
        if missing <= 1:  # which is computed on the way to the guesses
            return True
        num_tokens = min(missing, self._chunk)
        self._runner.launch({own: num_tokens}).wait()
        self._kv.mark_computed(own, num_tokens)
        return num_tokens == missing

    def _knows(self, request: Request) -> bool:
        """Whether its table has all of the tokens: that of a larger model may have more rows, of no text."""
        follower = self._followers.get(request)
        known = len(follower.request.token_ids) if follower else 0
        return max(request.token_ids[known:], default=0) < self._runner.vocab_size

    def _has_blocks(self, request: Request, count: int) -> bool:
        """Whether there are some for a chunk of what is known, and as many guesses."""
        follower = self._followers.get(request) or self._begin(request)
        own = follower.request
        self._kv.mark_computed(own, follower.follow(request.token_ids))
        return self._kv.allocate_slots(own, min(own.num_uncomputed_tokens - 1, self._chunk) + count)

    def _begin(self, request: Request) -> _Follower:
        own = Request(request.request_id, list(request.token_ids), _GREEDY)
        self._kv.start_from_cache(own)
        follower = self._followers[request] = _Follower(own)
        return follower

    def _guess(self, counts: Mapping[Request, int]) -> None:
        """Let all go on side by side; what is known stays as it is."""
        going = {self._followers[request]: count for request, count in counts.items()}
        continuations = [Continuation(follower.request, count) for follower, count in going.items()]
        for step in complete(continuations, self._runner):
            self._measured(step)
        for follower, continuation in zip(going, continuations, strict=True):
            follower.guesses = continuation.take_guesses()
            self._kv.mark_computed(follower.request, follower.request.num_uncomputed_tokens - 1)

    def _measured(self, step: Step) -> None:
        """The first step of so many rows is recorded or compiled, which no other is."""
        if step.rows in self._begun:
            self._seconds.append(step.seconds / step.rows)
        self._begun.add(step.rows)
