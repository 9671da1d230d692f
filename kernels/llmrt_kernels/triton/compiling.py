"""Kernels compiled side by side before they are launched: one after the other, those of a model are half a minute.

Triton keeps on disk what it has compiled, and reads it from there in later processes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from typing import Any

from triton import AsyncCompileMode, FutureKernel
from triton.runtime.jit import JITFunction

MOST_THREADS = 8  # an eighth of the work is Python's, of which a process does one thing at a time
TOLD_AFTER = 1.0  # seconds, within which all of it comes from disk if it is there


def compile_launches(steps: Callable[[], object], threads: int, tell: Callable[[int], None]) -> None:
    """Compile what ``steps`` would launch, by so many threads; nothing is launched.

    ``tell`` hears how many kernels are still to be compiled where that takes long. What cannot be compiled raises its
    error where it is launched.
    """
    kernels = set[JITFunction[Any]]()
    try:
        with (
            ThreadPoolExecutor(min(threads, MOST_THREADS)) as pool,
            AsyncCompileMode(pool, ignore_errors=True) as compiling,
        ):
            with _not_launched(kernels):
                steps()
            missing = wait(compiling.raw_futures, TOLD_AFTER).not_done
            if missing:
                tell(len(missing))
    finally:
        for kernel in kernels:
            _forget_failures(kernel)


@contextmanager
def _not_launched(kernels: set[JITFunction[Any]]) -> Generator[None]:
    """Inside, kernels are handed to the compiler instead of the device, and put into the set."""
    launched = JITFunction.__getitem__

    def compiled(self: JITFunction[Any], grid: object) -> Callable[..., object]:
        kernels.add(self)
        return partial(self.warmup, grid=grid)

    JITFunction.__getitem__ = compiled
    try:
        yield
    finally:
        JITFunction.__getitem__ = launched


def _forget_failures(kernel: JITFunction[Any]) -> None:
    """A launch tries again: a disk that was full may have room by then."""
    for compiled, *_ in kernel.device_caches.values():
        for form in [form for form, made in compiled.items() if isinstance(made, FutureKernel)]:
            del compiled[form]
