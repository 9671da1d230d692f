"""Steps whose tokens are not waited for: while the device computes one, the host prepares the next. Free of torch.

vLLM calls this asynchronous scheduling, SGLang an overlapping scheduler.

    host      schedule n | launch n | wait for n-1 | settle n-1 | advance n | schedule n+1 | launch n+1 | ...
    device    ... step n-1 ........ | step n ..................................................... | step n+1

The token that step n-1 chose feeds step n on the device. That it ended its request is found after step n was launched:
what that step computes for the request is dropped. Lengths are counted, so only stop tokens and aborts cost such a row.
A step whose tokens the host has to look at to choose them, for penalties or log-probabilities, is waited for.

So is one that verifies guesses, and the one before it: what comes next depends on which of them came true. While they
would not pay, steps run ahead as ever, and what would have been guessed is compared with what comes.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple

from llmrt.engine.request import RequestOutput
from llmrt.engine.runners.runner import AsyncRunner, Flight
from llmrt.engine.scheduler import Scheduler, SchedulerOutput, all_decode
from llmrt.engine.speculation.speculation import Speculation


class _Sent(NamedTuple):
    """A step that was launched ``since`` then; ``decodes`` if all of its requests do."""

    flight: Flight
    scheduled: SchedulerOutput
    since: float
    decodes: bool

    @property
    def verifies(self) -> bool:
        """Whether requests have drafts."""
        return self.decodes and sum(self.scheduled.values()) > len(self.scheduled)


class RunAhead:
    """One step is in flight while the next is scheduled."""

    def __init__(
        self,
        scheduler: Scheduler,
        runner: AsyncRunner,
        clock: Callable[[], float] = perf_counter,
        speculation: Speculation | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._runner = runner
        self._clock = clock
        self._speculation = speculation
        self._in_flight: _Sent | None = None
        self._settled = 0.0  # when the last step was
        self._guesses_pay = False

    def step(self) -> list[RequestOutput]:
        """Launch a step if there is one, and return what the step before it gave."""
        outputs = self._settle() if self._guesses_pay else []
        self._draft()
        sent = self._launch()
        outputs += self._settle()
        if sent is not None and sent.verifies:
            return outputs + self._verify(sent)
        self._foresee()
        self._scheduler.advance({} if sent is None else sent.scheduled)
        self._in_flight = sent
        if sent is not None and not sent.flight.is_late:
            outputs += self._settle()
        return outputs

    def _draft(self) -> None:
        if self._speculation is not None and self._in_flight is None and not self._scheduler.has_prompts:
            self._speculation.draft(self._scheduler.decoding)

    def _launch(self) -> _Sent | None:
        since, scheduled = self._clock(), self._scheduler.schedule()
        if not scheduled:
            return None
        decodes = all_decode(scheduled)
        if not decodes:
            _forget_drafts(scheduled)
        return _Sent(self._runner.launch(scheduled), scheduled, since, decodes)

    def _settle(self) -> list[RequestOutput]:
        sent, self._in_flight = self._in_flight, None
        if sent is None:
            return []
        outputs = self._scheduler.settle(sent.flight.wait())
        self._learn(sent)
        return outputs

    def _verify(self, sent: _Sent) -> list[RequestOutput]:
        """Nothing else is in flight, for all tokens were known when it was scheduled."""
        outputs = self._scheduler.update(sent.scheduled, sent.flight.wait())
        self._learn(sent)
        return outputs

    def _learn(self, sent: _Sent) -> None:
        """A step takes until it is settled, from when the one before it was: then the device was free for it."""
        since, self._settled = max(sent.since, self._settled), self._clock()
        if self._speculation is not None and sent.decodes:
            self._speculation.learn(sent.scheduled, self._settled - since)

    def _foresee(self) -> None:
        """Guess what the step that is on its way gives, and whether it would pay to wait for it and verify the rest."""
        if self._speculation is not None:
            pay = self._speculation.foresee(self._scheduler.decoding)
            self._guesses_pay = pay and not self._scheduler.has_prompts


def _forget_drafts(scheduled: SchedulerOutput) -> None:
    """Steps with prompts verify nothing."""
    for request in scheduled:
        if request.draft:
            request.draft, scheduled[request] = (), 1
