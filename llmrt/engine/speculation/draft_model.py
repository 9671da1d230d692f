"""Guesses by a smaller model of the same vocabulary.

It has a KV cache of its own, whose blocks are given out as the engine's are, and in it a request for each of the
engine's, with the tokens that are known. What it guesses is written behind them, and written over where it was wrong.
Its guesses are the likeliest tokens, also for requests whose tokens are drawn. Free of torch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from statistics import median
from time import perf_counter

from llmrt.engine.kv.manager import KVCacheManager
from llmrt.engine.request import Request, SamplingParams
from llmrt.engine.runner import ModelRunner
from llmrt.engine.scheduler import SampledToken

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

    def __init__(self, runner: ModelRunner, kv: KVCacheManager, *, chunk: int, context_length: int) -> None:
        self._runner, self._kv = runner, kv
        self._chunk, self._context_length = chunk, context_length
        self._followers: dict[Request, _Follower] = {}
        self._seconds = deque[float]([0.0], maxlen=_SAMPLES)

    @property
    def seconds_per_token(self) -> float:
        """See ``Proposer``. At least what is worth measuring: guesses are made where they may pay."""
        return max(1e-6, median(self._seconds))

    def propose(self, requests: Sequence[Request], counts: Sequence[int]) -> list[list[int]]:
        """See ``Proposer``."""
        self._forget_all_but(requests)
        ready: dict[Request, int] = {}
        for request, count in zip(requests, counts, strict=True):
            fits = len(request.token_ids) + count <= self._context_length
            if count and fits and self._knows(request) and self._catch_up(request, count):
                ready[request] = count
        self._guess(ready)
        return [self._followers[request].guesses if request in ready else [] for request in requests]

    def _knows(self, request: Request) -> bool:
        """Whether its table has all of the tokens: that of a larger model may have more rows, of no text."""
        follower = self._followers.get(request)
        known = len(follower.request.token_ids) if follower else 0
        return max(request.token_ids[known:], default=0) < self._runner.vocab_size

    def _forget_all_but(self, requests: Collection[Request]) -> None:
        for gone in self._followers.keys() - set(requests):
            self._kv.free(self._followers.pop(gone).request)

    def _catch_up(self, request: Request, count: int) -> bool:
        """Compute what is known, a chunk at most; whether only the last token is left, with blocks for the guesses."""
        follower = self._followers.get(request) or self._begin(request)
        own = follower.request
        self._kv.mark_computed(own, follower.follow(request.token_ids))
        missing = min(own.num_uncomputed_tokens - 1, self._chunk)
        if not self._kv.allocate_slots(own, missing + count):
            return False
        if missing:
            self._compute(own, missing)
        return own.num_uncomputed_tokens == 1

    def _begin(self, request: Request) -> _Follower:
        own = Request(request.request_id, list(request.token_ids), _GREEDY)
        self._kv.get_computed_blocks(own)
        follower = self._followers[request] = _Follower(own)
        return follower

    def _compute(self, own: Request, num_tokens: int) -> None:
        prefill = self._runner.begin({own: num_tokens})
        while not prefill.advance():
            pass
        self._kv.mark_computed(own, num_tokens)

    def _guess(self, counts: Mapping[Request, int]) -> None:
        """Let all go on side by side, by the likeliest token each time; what is known stays as it is."""
        followers = {self._followers[request]: count for request, count in counts.items()}
        while going := [follower for follower, count in followers.items() if len(follower.guesses) < count]:
            self._step(going)
        for follower in followers:
            own, count = follower.request, len(follower.guesses)
            del own.token_ids[-count:]
            own.num_computed_tokens -= count

    def _step(self, followers: Sequence[_Follower]) -> None:
        start = perf_counter()
        results = self._runner.execute({follower.request: 1 for follower in followers})
        for follower in followers:
            token, own = results[follower.request], follower.request
            assert isinstance(token, SampledToken)
            own.num_computed_tokens += 1
            own.token_ids.append(token.token_id)
            follower.guesses.append(token.token_id)
        self._seconds.append((perf_counter() - start) / len(followers))
