"""A device that computes on the CPU, when it has to or feels like it: what is read too early is not there yet."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import Tensor

from llmrt.engine.runners.device import Work


class ScriptedDevice:
    """Work waits in a queue until the host waits for an event behind it, or ``rng`` lets some of it be done."""

    def __init__(self, rng: random.Random) -> None:
        self.device = torch.device("cpu")
        self.num_captured = self.num_replayed = self.num_run = 0
        self._rng = rng
        self._queue: list[Callable[[], None]] = []
        self._done = 0

    def run(self, work: Work) -> ScriptedGraph:
        self.num_run += 1
        return ScriptedGraph(self, work)

    def capture(self, work: Work) -> ScriptedGraph:
        self.num_captured += 1
        return ScriptedGraph(self, work)

    def host_buffer(self, size: int, dtype: torch.dtype) -> Tensor:
        return torch.full((size,), -(10**9) if dtype == torch.int64 else 99, dtype=dtype)

    def copy(self, to: Tensor, source: Tensor) -> None:
        assert to.shape == source.shape
        self.hand_over(lambda: to.copy_(source))

    def event(self) -> ScriptedEvent:
        return ScriptedEvent(self, len(self._queue))

    def compile(self, works: Callable[[], object]) -> None:
        pass

    def hand_over(self, work: Callable[[], object]) -> None:
        self._queue.append(lambda: void(work()))
        if self._rng.random() < 0.5:
            self.advance(self._rng.randint(self._done, len(self._queue)))

    @torch.inference_mode()
    def advance(self, place: int) -> None:
        while self._done < place:
            self._queue[self._done]()
            self._queue[self._done] = lambda: None
            self._done += 1


class ScriptedGraph:
    def __init__(self, device: ScriptedDevice, work: Work) -> None:
        self.result: Tensor | None = None
        self._device = device
        self._work = work
        device.hand_over(self._run)

    def replay(self) -> None:
        self._device.num_replayed += 1
        self._device.hand_over(self._run)

    def _run(self) -> None:
        self.result = self._work()


class ScriptedEvent:
    def __init__(self, device: ScriptedDevice, place: int) -> None:
        self._device = device
        self._place = place

    def wait(self) -> None:
        self._device.advance(self._place)


def void(value: object) -> None:
    del value
