"""Steps whose tokens are not waited for: while the device computes one, the host prepares the next. Free of torch.

    host      schedule n | launch n | wait for n-1 | settle n-1 | advance n | schedule n+1 | launch n+1 | ...
    device    ... step n-1 ........ | step n ..................................................... | step n+1

The token that step n-1 chose feeds step n on the device. That it ended its request is found after step n was sent off:
what that step computes for the request is dropped. Lengths are counted, so only stop tokens and aborts cost such a row.
A step whose tokens the host has to look at to choose them, for penalties or log-probabilities, is waited for.
"""

from __future__ import annotations

from llmrt.engine.request import RequestOutput
from llmrt.engine.runner import Flight, LateRunner
from llmrt.engine.scheduler import Scheduler


class RunAhead:
    """One step is in flight while the next is scheduled."""

    def __init__(self, scheduler: Scheduler, runner: LateRunner) -> None:
        self._scheduler = scheduler
        self._runner = runner
        self._in_flight: Flight | None = None

    def step(self) -> list[RequestOutput]:
        """Send off a step if there is one, and return what the step before it gave."""
        scheduled = self._scheduler.schedule()
        flight = self._runner.launch(scheduled) if scheduled else None
        outputs = self._settle()
        self._scheduler.advance(scheduled)
        self._in_flight = flight
        if flight is not None and not flight.is_late:
            outputs += self._settle()
        return outputs

    def _settle(self) -> list[RequestOutput]:
        flight, self._in_flight = self._in_flight, None
        return [] if flight is None else self._scheduler.settle(flight.wait())
