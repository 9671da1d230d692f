"""torch.cuda where there is no GPU: what is to lie on "cuda" lies on the CPU, kernels are interpreted, and a graph does
again what was asked for while it was recorded.

As on a device nothing is computed while a graph is recorded, and what would have to wait for the device is an error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest
import torch
import triton.language as tl
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map
from triton.runtime.interpreter import GridExecutor, TensorHandle

from llmrt.engine.hardware import gpus
from llmrt_kernels.triton import product_dot4
from llmrt_kernels.triton.target import INTERPRETED

FREE, TOTAL = 2 << 30, 4 << 30
WAITS = {"item", "tolist", "numpy", "cpu", "nonzero", "__int__", "__bool__", "__float__", "__index__", "pin_memory"}
UNFILLED = {"empty", "empty_like", "new_empty", "empty_strided"}

Step = Callable[[], object]


class OnCpu(TorchFunctionMode):
    """Sees every function of torch that is called."""

    recorded: list[Step] | None = None  # while a graph is

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = tree_map(_place, args), tree_map(_place, kwargs or {})
        kwargs.pop("pin_memory", None)
        if self.recorded is None:
            return func(*args, **kwargs)
        name = func.__name__
        if name in WAITS:
            raise RuntimeError(f"{name} waits for the device, which is not permitted while a graph is recorded.")
        if name == "__setitem__" or (name.endswith("_") and not name.endswith("__")):
            self.recorded.append(lambda: func(*args, **kwargs))
            return args[0]
        result = func(*args, **kwargs)
        if name not in UNFILLED and any(isinstance(leaf, Tensor) for leaf in tree_leaves(result)):
            self.recorded.append(lambda: _refill(result, func(*args, **kwargs)))
        return result


def _place(value: Any) -> Any:
    is_there = value.startswith("cuda") if isinstance(value, str) else isinstance(value, torch.device)
    return torch.device("cpu") if is_there else value


def _refill(old: Any, new: Any) -> None:
    for to, source in zip(tree_leaves(old), tree_leaves(new), strict=True):
        if isinstance(to, Tensor) and to.data_ptr() != source.data_ptr():
            to.copy_(source)


class Graph:
    """See ``torch.cuda.CUDAGraph``."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._pool: object = None

    def capture_in(self, pool: object, others: Iterable[Graph]) -> None:
        """As in torch's allocator, a pool is there for as long as a graph uses it."""
        if pool is not None and all(other._pool is not pool for other in others):
            raise RuntimeError("INTERNAL ASSERT FAILED: no graph uses the pool.")
        self._pool = object() if pool is None else pool

    def pool(self) -> object:
        return self._pool

    def replay(self) -> None:
        for step in self.steps:
            step()


class Event:
    """See ``torch.cuda.Event``."""

    def __init__(self, enable_timing: bool = False) -> None:
        self._time = 0.0 if enable_timing else None

    def record(self) -> None:
        if self._time is not None:
            self._time = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, end: Event) -> float:
        assert self._time is not None and end._time is not None
        return 1000 * (end._time - self._time)


def dot4(a: tl.tensor, b: tl.tensor, c: tl.tensor, ASM: str) -> tl.tensor:
    """See ``llmrt_kernels.triton.dot4``, which the interpreter takes ten times as long for."""
    words = np.broadcast_arrays(a.handle.data, b.handle.data)
    left, right = (np.ascontiguousarray(word).view(np.int8).reshape(*word.shape, 4) for word in words)
    total = c.handle.data + (left.astype(np.int32) * right).sum(-1, dtype=np.int32)
    return tl.tensor(TensorHandle(total, tl.int32), tl.block_type(tl.int32, list(total.shape)))


@contextmanager
def pretended_cuda() -> Iterator[OnCpu]:
    """A GPU, for this thread."""
    mode, graphs = OnCpu(), WeakSet[Graph]()

    @contextmanager
    def graph(graph: Graph, pool: object = None, stream: object = None, capture_error_mode: str = "") -> Iterator[None]:
        assert mode.recorded is None
        graph.capture_in(pool, graphs)
        graphs.add(graph)
        mode.recorded = graph.steps
        try:
            yield
        finally:
            mode.recorded = None

    def launch(self: GridExecutor, *args: Any, run: Any = GridExecutor.__call__, **kwargs: Any) -> None:
        if mode.recorded is None:
            run(self, *args, **kwargs)
        else:
            mode.recorded.append(lambda: run(self, *args, **kwargs))

    properties = SimpleNamespace(
        **{"name": "pretended", "major": 9, "minor": 0, "multi_processor_count": 4},
        **{"total_memory": TOTAL, "L2_cache_size": 1 << 10},
    )
    functions: dict[str, Any] = {
        "is_available": lambda: True,
        "current_device": lambda: 0,
        "device_count": lambda: 1,
        "set_device": lambda index: None,
        "get_device_name": lambda index=None: properties.name,
        "get_device_capability": lambda index=None: (9, 0),
        "get_device_properties": lambda index=None: properties,
        "mem_get_info": lambda: (FREE, TOTAL),
        "memory_allocated": lambda: 0,
        "max_memory_allocated": lambda: 1 << 20,
        "reset_peak_memory_stats": lambda: None,
        "empty_cache": lambda: None,
        "synchronize": lambda: None,
        "CUDAGraph": Graph,
        "graph": graph,
        "Event": Event,
    }
    with pytest.MonkeyPatch.context() as patch, mode:
        for name, value in functions.items():
            patch.setattr(torch.cuda, name, value)
        patch.setattr(gpus, "launcher_refusal", lambda: None)  # nothing is launched
        patch.setattr(GridExecutor, "__call__", launch)
        if INTERPRETED:
            patch.setattr(product_dot4, "dot4", dot4)
        yield mode
