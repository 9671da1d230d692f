"""What steps need of a device that computes on its own while the host goes on: a queue of work, graphs, events.

Everything that is handed over runs in that order. A tensor that is handed over for reading must not be written by the
host before an event after it has come.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
from weakref import WeakSet

import torch
from torch import Tensor

from llmrt.engine.hardware.threads import usable_cores

Work = Callable[[], Tensor]
TellCompiling = Callable[[int], None]  # so many kernels are to be compiled; not called where that is soon done


class Computed(Protocol):
    """Work that was handed over."""

    @property
    def result(self) -> Tensor:
        """What the work returned, there for later work, and for the host after an event."""
        ...


class Graph(Computed, Protocol):
    """Work that can be handed over again at no cost: it reads the same tensors, and leaves its result in the same."""

    def replay(self) -> None:
        """Hand over the work once more."""
        ...


class Event(Protocol):
    """A place in the queue."""

    def wait(self) -> None:
        """Block the host until the device has come here."""
        ...


class StepDevice(Protocol):
    """A queue of a device. Its calls return before the work is done."""

    device: torch.device

    def run(self, work: Work) -> Computed:
        """Hand over ``work``."""
        ...

    def capture(self, work: Work) -> Graph:
        """Hand over ``work``, which never waits for the device, and keep it to be handed over again."""
        ...

    def host_buffer(self, size: int, dtype: torch.dtype) -> Tensor:
        """Host memory [size] that ``copy`` reads and writes without the host."""
        ...

    def copy(self, to: Tensor, source: Tensor) -> None:
        """Hand over a copy between tensors of one shape, one of which may be a host buffer."""
        ...

    def event(self) -> Event:
        """The place after all that was handed over."""
        ...

    def compile(self, works: Callable[[], object]) -> None:
        """Compile the kernels of all that ``works`` runs, side by side; they compute nothing."""
        ...


class CudaDevice:
    """torch's current GPU and stream. Without ``graphs``, captured work is run step by step each time."""

    def __init__(self, *, graphs: bool, compiling: TellCompiling = lambda _: None) -> None:
        self.device = torch.device("cuda")
        self._captures, self._compiling = graphs, compiling
        self._graphs = WeakSet[_CudaGraph]()

    def run(self, work: Work) -> _Done:
        """See ``StepDevice``."""
        return _Done(work())

    def capture(self, work: Work) -> _CudaGraph | _Repeated:
        """See ``StepDevice``. The first run compiles the kernels, which cannot be done while a graph is recorded."""
        if not self._captures:
            return _Repeated(work)
        graph = _CudaGraph(work, next(iter(self._graphs), None))
        self._graphs.add(graph)
        return graph

    def host_buffer(self, size: int, dtype: torch.dtype) -> Tensor:
        """See ``StepDevice``."""
        return torch.empty(size, dtype=dtype, pin_memory=True)

    def copy(self, to: Tensor, source: Tensor) -> None:
        """See ``StepDevice``."""
        to.copy_(source, non_blocking=True)

    def event(self) -> _CudaEvent:
        """See ``StepDevice``."""
        return _CudaEvent()

    def compile(self, works: Callable[[], object]) -> None:
        """See ``StepDevice``."""
        from llmrt_kernels.triton.compiling import compile_launches  # there is no Triton where there is no GPU

        compile_launches(works, usable_cores(), self._compiling)


class _Done:
    def __init__(self, result: Tensor) -> None:
        self.result = result


class _CudaGraph:
    """Has its memory in common with ``other``, for no two run at a time and none keeps more than it returned.

    Memory that all graphs have left is not to be had again, although matrix libraries may still have their part of it.
    """

    def __init__(self, work: Work, other: _CudaGraph | None) -> None:
        self.result = work()
        self._graph = torch.cuda.CUDAGraph()
        pool = None if other is None else other._graph.pool()
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):  # other threads go on
            self._recorded = work()

    def replay(self) -> None:
        """See ``Graph``."""
        self._graph.replay()
        self.result = self._recorded


class _Repeated:
    def __init__(self, work: Work) -> None:
        self.result = work()
        self._work = work

    def replay(self) -> None:
        """See ``Graph``."""
        self.result = self._work()


class _CudaEvent:
    def __init__(self) -> None:
        self._event = torch.cuda.Event()
        self._event.record()

    def wait(self) -> None:
        """See ``Event``."""
        self._event.synchronize()
