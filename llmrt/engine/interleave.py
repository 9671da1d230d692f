"""Steps of prompts, layer by layer, with decode steps between the layers. Free of torch.

A step with prompts begins when none is under way. Its requests keep their places in the scheduler meanwhile; for one
that is aborted or preempted nothing more is written to its blocks, which may be another's by then. Nobody's tokens
depend on it: on the processor a row is computed the same whatever else is in its step.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from llmrt.engine.pace import Pace
from llmrt.engine.request import Request, RequestOutput
from llmrt.engine.runners.runner import ModelRunner, Prefill
from llmrt.engine.scheduler import Scheduler, SchedulerOutput
from llmrt.engine.speculation.speculation import Speculation


class Interleave:
    """One step of prompts is under way at most."""

    def __init__(
        self,
        scheduler: Scheduler,
        runner: ModelRunner,
        clock: Callable[[], float] = perf_counter,
        speculation: Speculation | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._runner = runner
        self._clock = clock
        self._speculation = speculation
        self._pace = Pace()
        self._prefill: Prefill | None = None

    def step(self) -> list[RequestOutput]:
        """Layers of a step of prompts, as many as the pace allows, and a token for all who decode."""
        self._forget_who_left()  # who was aborted
        if decoding := self._scheduler.decoding:
            self._draft(decoding)
        scheduled = self._scheduler.schedule(self._prompt_tokens(len(decoding)))
        self._forget_who_left()  # who was preempted
        tokens = {request: num_tokens for request, num_tokens in scheduled.items() if request.is_decoding}
        if len(tokens) < len(scheduled):
            self._prefill = self._runner.begin({r: n for r, n in scheduled.items() if r not in tokens})
        return [*self._compute_layers(bool(tokens)), *self._decode(tokens)]

    def _prompt_tokens(self, num_decoding: int) -> int | None:
        """Of the next step at most; None where prompts are alone, or where there are none."""
        num_prompts = self._scheduler.num_running - num_decoding
        beside_others = num_decoding and num_prompts + self._scheduler.num_waiting
        if beside_others:
            self._pace.weigh(num_prompts, num_decoding)
        if self._prefill is not None:
            return 0
        return self._pace.prompt_tokens() if beside_others else None

    def _draft(self, decoding: list[Request]) -> None:
        if self._speculation is not None and self._runner.verifies:
            self._speculation.draft(decoding)

    def _forget_who_left(self) -> None:
        if self._prefill is None:
            return
        for request in [r for r in self._prefill.scheduled if not self._scheduler.is_running(r)]:
            self._prefill.forget(request)
        if not self._prefill.scheduled:
            self._prefill = None

    def _compute_layers(self, others_decode: bool) -> list[RequestOutput]:
        """As many layers as the pace allows; one where nobody decodes, so that an abort is soon heard of."""
        prefill, start = self._prefill, self._clock()
        if prefill is None:
            return []
        while not self._compute_layer(prefill):
            if not others_decode or not self._pace.allows(prefill.num_tokens, self._clock() - start):
                return []
        self._prefill = None
        return self._scheduler.update(prefill.scheduled, prefill.results())

    def _compute_layer(self, prefill: Prefill) -> bool:
        """Whether it was the last."""
        start = self._clock()
        is_last = prefill.advance()
        self._pace.layered(prefill.num_tokens, self._clock() - start)
        return is_last

    def _decode(self, scheduled: SchedulerOutput) -> list[RequestOutput]:
        if not scheduled:
            return []
        start = self._clock()
        outputs = self._scheduler.update(scheduled, self._runner.execute(scheduled))
        seconds = self._clock() - start
        self._pace.decoded(seconds)
        if self._speculation is not None:
            self._speculation.learn(scheduled, seconds)
        return outputs
