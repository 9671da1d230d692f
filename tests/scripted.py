"""A model without torch: its next token is a hash of the last three, and it checks what each cache slot holds."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pytest

from llmrt.engine.request import PENDING, Request, RequestOutput
from llmrt.engine.runners.decode_rows import DRAFT_STEP_ROWS
from llmrt.engine.scheduler import SampledToken, SchedulerOutput, all_decode

VOCAB = 100
CONTEXT = 64
DRAFT_LENGTHS = "llmrt.engine.speculation.speculation.draft_lengths"


def next_token(token_ids: list[int]) -> int:
    """The scripted model: a hash of the last tokens."""
    return hash(tuple(token_ids[-3:])) % VOCAB


class ScriptedRunner:
    """Keeps its own record of what each cache slot holds, and checks every read against it.

    ``layers`` of a prompt, and the seconds that a decode step takes, that each row of it takes, and a layer for each
    token, by a clock of its own.
    """

    vocab_size = VOCAB
    hidden_size = 1
    verifies = True

    def __init__(
        self,
        block_size: int,
        sliding_window: int | None,
        *,
        layers: int = 1,
        decode_seconds: float = 1.0,
        row_seconds: float = 0.0,
        layer_seconds: float = 1.0,
    ) -> None:
        self.block_size = block_size
        self.window = sliding_window
        self.layers = layers
        self.decode_seconds, self.row_seconds, self.layer_seconds = decode_seconds, row_seconds, layer_seconds
        self.now = 0.0
        self.slots: dict[tuple[int, int], tuple[int, ...]] = {}
        self.steps: list[dict[str, int]] = []

    def clock(self) -> float:
        return self.now

    def execute(self, scheduled: SchedulerOutput) -> Mapping[Request, SampledToken]:
        assert all(r.num_uncomputed_tokens == 1 and n == 1 + len(r.draft) for r, n in scheduled.items())
        self.now += self.decode_seconds + self.row_seconds * sum(scheduled.values())
        self.compute(scheduled, {request: [*request.token_ids, *request.draft] for request in scheduled})
        return {request: follow_draft(request) for request in scheduled}

    def begin(self, scheduled: SchedulerOutput) -> ScriptedPrefill:
        return ScriptedPrefill(self, scheduled)

    def compute(
        self, scheduled: SchedulerOutput, token_ids: Mapping[Request, list[int]]
    ) -> dict[Request, SampledToken]:
        """Write and read the slots of a step whose requests have the ``token_ids``."""
        self.steps.append({request.request_id: n for request, n in scheduled.items()})
        self.write(scheduled, token_ids)
        return self.read(scheduled, token_ids)

    def write(self, scheduled: SchedulerOutput, token_ids: Mapping[Request, list[int]]) -> None:
        for request, num_tokens in scheduled.items():
            for p in range(request.num_computed_tokens, request.num_computed_tokens + num_tokens):
                self.slots[self._slot(request, p)] = tuple(token_ids[request][: p + 1])

    def read(self, scheduled: SchedulerOutput, token_ids: Mapping[Request, list[int]]) -> dict[Request, SampledToken]:
        for request, num_tokens in scheduled.items():
            end = request.num_computed_tokens + num_tokens
            first_query = request.num_computed_tokens
            start = 0 if self.window is None else max(0, first_query - self.window + 1)
            for p in range(start, end):
                held = self.slots[self._slot(request, p)]
                assert held == tuple(token_ids[request][: p + 1]), f"{request.request_id}: position {p} was overwritten"
        ending = [r for r, n in scheduled.items() if r.num_computed_tokens + n == len(r.token_ids)]
        return {request: SampledToken(next_token(token_ids[request])) for request in ending}

    def forget_adapters(self) -> None:
        raise NotImplementedError

    def warm_up(self, max_tokens: int, *, adapted: bool = False) -> None:
        """There is nothing to compile."""

    def randomize_cache(self) -> None:
        raise NotImplementedError

    def _slot(self, request: Request, position: int) -> tuple[int, int]:
        block = request.block_table[position // self.block_size]
        assert block != 0, f"{request.request_id}: position {position} is in the null block"
        return block, position % self.block_size


class ScriptedPrefill:
    """Every layer writes the slots anew; what they hold is read behind the last."""

    def __init__(self, runner: ScriptedRunner, scheduled: SchedulerOutput) -> None:
        runner.steps.append({request.request_id: n for request, n in scheduled.items()})
        self.scheduled, self.num_tokens = dict(scheduled), sum(scheduled.values())
        self.runner = runner
        self.layers_left = runner.layers

    def advance(self) -> bool:
        self.runner.now += self.num_tokens * self.runner.layer_seconds
        self.runner.write(self.scheduled, known(self.scheduled))
        self.layers_left -= 1
        return self.layers_left == 0

    def forget(self, request: Request) -> None:
        del self.scheduled[request]

    def results(self) -> Mapping[Request, SampledToken]:
        return self.runner.read(self.scheduled, known(self.scheduled))


def known(scheduled: SchedulerOutput) -> dict[Request, list[int]]:
    return {request: request.token_ids for request in scheduled}


def follow_draft(request: Request) -> SampledToken:
    token_ids = list(request.token_ids)
    while (token := next_token(token_ids)) in request.draft[len(token_ids) - len(request.token_ids) :][:1]:
        token_ids.append(token)
    accepted = token_ids[len(request.token_ids) :]
    return SampledToken(token, accepted=tuple(map(SampledToken, accepted)))


def expected_answer(prompt: list[int], max_tokens: int, context: int = CONTEXT) -> list[int]:
    token_ids = list(prompt)
    while len(token_ids) < min(len(prompt) + max_tokens, context):
        token_ids.append(next_token(token_ids))
    return token_ids[len(prompt) :]


def collect(outputs: list[RequestOutput], into: dict[str, list[int]]) -> None:
    for output in outputs:
        into.setdefault(output.request_id, []).extend(output.token_ids)


class LateScriptedRunner(ScriptedRunner):
    """The same as a device that knows the tokens before the host does. Tokens that are reported on are not late.

    The device computes one step after the other while the clock, which is the host's, goes on; ``host_seconds`` pass
    there for each.
    """

    host_seconds = 0.0

    def __init__(self, block_size: int, sliding_window: int | None, **seconds: float) -> None:
        super().__init__(block_size, sliding_window, **seconds)
        self.last: dict[Request, SampledToken] = {}
        self.device_now = 0.0

    def launch(self, scheduled: SchedulerOutput) -> ScriptedFlight:
        assert all_decode(scheduled) == all(request.is_decoding for request in scheduled)
        self.now += self.host_seconds
        self.device_now = max(self.now, self.device_now) + self.decode_seconds
        self.device_now += self.row_seconds * sum(scheduled.values())
        known = {request: [*self._known(request), *request.draft] for request in scheduled}
        self.last = self.compute(scheduled, known)
        drafted = any(request.draft for request in scheduled)
        if drafted:
            assert all(n == 1 + len(r.draft) and r.is_decoding for r, n in scheduled.items())
            self.last = {request: follow_draft(request) for request in scheduled}
        late = not drafted and all(request.params.is_plain for request in self.last)
        return ScriptedFlight(dict(self.last), late, partial(self.wait_until, self.device_now))

    def wait_until(self, end: float) -> None:
        self.now = max(self.now, end)

    def _known(self, request: Request) -> list[int]:
        *before, last = request.token_ids
        assert PENDING not in before
        return [*before, self.last[request].token_id if last == PENDING else last]


class ScriptedFlight:
    def __init__(self, sampled: dict[Request, SampledToken], is_late: bool, wait: Callable[[], None]) -> None:
        self.sampled = sampled
        self.is_late = is_late
        self.block = wait

    def wait(self) -> dict[Request, SampledToken]:
        self.block()
        return self.sampled


class Guesses:
    seconds_per_token = 0.0

    def warm_up(self) -> None:
        """There is nothing to compile."""

    def reach(self, request: Request) -> int:
        return request.max_length

    def propose(self, requests: Sequence[Request], counts: Sequence[int]) -> list[list[int]]:
        return [self.guess(request, most) for request, most in zip(requests, counts, strict=True)]

    def guess(self, request: Request, most: int) -> list[int]:
        raise NotImplementedError


class Oracle(Guesses):
    """Knows how requests go on, and guesses each token right with a chance of ``right``."""

    def __init__(self, rng: random.Random, right: float = 0.8) -> None:
        self.rng, self.right = rng, right

    def guess(self, request: Request, most: int) -> list[int]:
        token_ids = list(request.token_ids)
        for _ in range(most):
            token = next_token(token_ids)
            token_ids.append(token if self.rng.random() < self.right else (token + 1) % VOCAB)
        return token_ids[len(request.token_ids) :]


class Remembered(Guesses):
    """Guesses what came last time, each token right with a chance of 0.8."""

    def __init__(self, answers: dict[str, list[int]]) -> None:
        self.answers = answers
        self.rng = random.Random(0)

    def guess(self, request: Request, most: int) -> list[int]:
        rest = self.answers[request.request_id][request.num_output_tokens :][: self.rng.randrange(most + 1)]
        return [token if self.rng.random() < 0.8 else 3 for token in rest]


def verify_all_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether that pays or not."""
    monkeypatch.setattr(DRAFT_LENGTHS, lambda chances, seconds: [len(own) for own in chances])


def verify_some_guesses(monkeypatch: pytest.MonkeyPatch, rng: random.Random) -> None:
    """As many as ``rng`` says, and as a step on a device has rows for."""

    def lengths(chances: Sequence[Sequence[float]], seconds: object) -> list[int]:
        return [rng.randrange(min(len(own), DRAFT_STEP_ROWS[-1] // len(chances) - 1) + 1) for own in chances]

    monkeypatch.setattr(DRAFT_LENGTHS, lengths)
