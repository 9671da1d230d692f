"""Ctrl+C at a place where it does no harm."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def interrupts_deferred() -> Generator[None]:
    """Hold a Ctrl+C back until the block is done, then raise ``KeyboardInterrupt``.

    An engine step that is broken off half-way would leave its accounts of blocks in disorder. Where Ctrl+C does
    not raise ``KeyboardInterrupt`` to begin with (other threads, other handlers), nothing changes.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    pending: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: pending.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if pending:
        raise KeyboardInterrupt
