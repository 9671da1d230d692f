"""Running native calls, and recording them to be run again as one.

A recorded step is a list of calls whose argument structs and tensors the tape keeps. Running it again reads the same
addresses: whoever records writes the next step's inputs into the same tensors and finds the results in the same place.
"""

from __future__ import annotations

import ctypes
from collections.abc import Generator, Iterable
from contextlib import contextmanager

from torch import Tensor

from llmrt_kernels.cpu.addresses import tensors_of
from llmrt_kernels.cpu.library import Call, load
from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.packed import Codes, Rows, Weight


class Tape:
    """Calls in order, and everything that they point to."""

    def __init__(self) -> None:
        self._recorded: list[tuple[int, ctypes.Structure, tuple[Tensor, ...]]] = []
        self._calls: ctypes.Array[Call] | None = None

    def __len__(self) -> int:
        return len(self._recorded)

    def append(self, function: int, args: ctypes.Structure, tensors: Iterable[Tensor]) -> None:
        """Add a call. ``tensors`` are those whose addresses ``args`` holds."""
        self._recorded.append((function, args, tuple(tensors)))
        self._calls = None

    def run(self) -> None:
        """Execute the calls in one native call."""
        if self._calls is None:
            self._calls = (Call * len(self))(*[Call(f, ctypes.addressof(args)) for f, args, _ in self._recorded])
        library = load()
        assert library is not None
        library.run(self._calls, len(self))


_recording: Tape | None = None


@contextmanager
def record() -> Generator[Tape]:
    """Calls made inside are executed as ever and put on the tape too."""
    global _recording  # noqa: PLW0603 - one engine steps at a time, as the thread pool demands
    assert _recording is None
    _recording = Tape()
    try:
        yield _recording
    finally:
        _recording = None


def submit(op: str, args: ctypes.Structure, *operands: Codes | Rows | Weight | LayerKVCache | Tensor | None) -> None:
    """Execute one kernel now, and put it on the tape that is being recorded, if any.

    ``operands`` are those whose addresses ``args`` holds.
    """
    library = load()
    assert library is not None
    function = library.find(op)
    library.run((Call * 1)(Call(function, ctypes.addressof(args))), 1)
    if _recording is not None:
        _recording.append(function, args, tensors_of(*operands))
