"""Blocks on their way from the KV cache to the disk. Free of torch.

    wanted (keys) -> copied between steps -> written by a thread

A block that was wanted and has left the prefix cache before its turn is not saved. A copy is written one step after it
was begun, when a device has finished it too, and there are few at a time, however slow the disk is.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from llmrt.engine.kv.disk_store import DiskStore
from llmrt.engine.kv.pages import HostPage, Pages

_RETRY_SECONDS = 60.0  # after the disk did not take a block


class DiskSaver:
    """Saves blocks of ``pages`` to ``store``, at most ``most_pages`` at a time; ``notify`` is told what went wrong."""

    def __init__(self, store: DiskStore, pages: Pages, most_pages: int, notify: Callable[[str], None]) -> None:
        self._store, self._pages, self._most_pages, self._notify = store, pages, most_pages, notify
        self._wanted: dict[bytes, None] = {}
        self._copied: deque[tuple[bytes, HostPage]] = deque()
        self._writes: deque[Future[None]] = deque()
        self._writer = ThreadPoolExecutor(1, "llmrt-disk-write")
        self._resume_at = 0.0
        self._has_failed = False

    @property
    def has_work(self) -> bool:
        """Whether something is on its way."""
        return bool(self._wanted or self._copied or self._writes)

    def want(self, keys: Sequence[bytes]) -> None:
        """Save the blocks of ``keys``, in the order of their prompt, or note that they are used if they are saved."""
        held = [key for key in keys if key in self._store]
        if held:
            self._writer.submit(self._store.touch, held)
        if time.monotonic() >= self._resume_at:
            self._wanted.update(dict.fromkeys(key for key in keys if key not in self._store))

    def advance(self, find: Callable[[bytes], int | None], deadline: float) -> None:
        """Copy wanted blocks, which ``find`` knows by their keys, until ``deadline``, but one at least."""
        while self._copied:
            key, page = self._copied.popleft()
            self._writes.append(self._writer.submit(self._store.write, key, page.content()))
        self._collect()
        while self._wanted and len(self._copied) + len(self._writes) < self._most_pages:
            key = next(iter(self._wanted))
            del self._wanted[key]
            block = find(key)
            if block is not None and key not in self._store:
                self._copied.append((key, self._pages.copy_out(block)))
                if time.monotonic() >= deadline:
                    return

    def wait(self, seconds: float) -> None:
        """Wait a moment for the next write to end."""
        if self._writes:
            wait([self._writes[0]], seconds)

    def _collect(self) -> None:
        while self._writes and self._writes[0].done():
            error = self._writes.popleft().exception()
            if isinstance(error, OSError):
                self._give_up(error)
            elif error is not None:
                raise error

    def _give_up(self, error: OSError) -> None:
        """For a while. It is said once."""
        self._wanted.clear()
        self._resume_at = time.monotonic() + _RETRY_SECONDS
        if not self._has_failed:
            self._has_failed = True
            self._notify(cannot_keep(error))


def cannot_keep(error: OSError) -> str:
    """What a person should know of a disk that takes nothing."""
    what = f"Prompts are not kept for the next start: {error.filename}: {error.strerror}."
    return f"{what} Free some space, make it writable, or use --disk-cache 0."
