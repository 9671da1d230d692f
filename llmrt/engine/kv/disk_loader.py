"""Blocks on their way from the disk to the KV cache. Free of torch.

A request whose prefix is read holds the blocks that it comes to, and takes part in no step meanwhile. One is read at a
time, a few blocks ahead of what is copied between steps, so that little memory is taken. A thread reads and verifies
into memory of its own; a request that leaves leaves nobody who writes to its blocks.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import NamedTuple

from llmrt.engine.kv.disk_store import DiskStore
from llmrt.engine.kv.pages import HostPage, Pages
from llmrt.engine.request import Request


class Place(NamedTuple):
    """Where the content of a key comes to."""

    key: bytes
    block: int


@dataclass(frozen=True)
class _Read:
    place: Place
    page: HostPage
    is_whole: Future[bool]


@dataclass(frozen=True)
class _Load:
    places: deque[Place]
    reads: deque[_Read]


class DiskLoader:
    """Loads blocks of ``pages`` from ``store``, ``most_pages`` at a time."""

    def __init__(self, store: DiskStore, pages: Pages, most_pages: int) -> None:
        self._store, self._pages, self._most_pages = store, pages, most_pages
        self._loads: dict[Request, _Load] = {}  # in the order of their turns
        self._reader = ThreadPoolExecutor(1, "llmrt-disk-read")

    @property
    def has_work(self) -> bool:
        """Whether something is on its way."""
        return bool(self._loads)

    def is_loading(self, key: bytes) -> bool:
        """Whether the block of ``key`` is on its way."""
        return any(place.key == key for load in self._loads.values() for place in _places(load))

    def begin(self, request: Request, places: Sequence[Place]) -> None:
        """Load ``places`` for ``request``."""
        self._loads[request] = _Load(deque(places), deque())

    def drop(self, request: Request) -> None:
        """Load no more for ``request``."""
        load = self._loads.pop(request, None)
        for read in load.reads if load else ():
            read.is_whole.cancel()

    def advance(self, found: Callable[[Place], None], deadline: float) -> tuple[Request, bool] | None:
        """Copy what was read until ``deadline``, telling ``found`` of each block.

        Returns a request whose load ended, and whether all of its blocks came.
        """
        if not self._loads:
            return None
        request, load = next(iter(self._loads.items()))
        self._read_ahead(load)
        while load.reads and load.reads[0].is_whole.done():
            read = load.reads.popleft()
            if not read.is_whole.result():
                self.drop(request)
                return request, False
            self._pages.copy_in(read.page, read.place.block)
            found(read.place)
            self._read_ahead(load)
            if time.monotonic() >= deadline:
                break
        if load.reads:
            return None
        self.drop(request)
        return request, True

    def wait(self, seconds: float) -> None:
        """Wait a moment for the next block."""
        for load in self._loads.values():
            if load.reads:
                wait([load.reads[0].is_whole], seconds)
                return

    def _read_ahead(self, load: _Load) -> None:
        while load.places and len(load.reads) < self._most_pages:
            place, page = load.places.popleft(), self._pages.empty()
            is_whole = self._reader.submit(self._store.read, place.key, page.content())
            load.reads.append(_Read(place, page, is_whole))


def _places(load: _Load) -> list[Place]:
    return [*load.places, *(read.place for read in load.reads)]
