"""The prefix cache on disk: what outlives the process. Free of torch.

What is kept are the blocks of prompts, from ``_SHORTEST_PROMPT`` tokens on: instructions, tools and documents come
again, and computing them takes seconds, while a short question is neither. Answers are not kept as they are written. If
the conversation goes on, they are part of its next prompt; most do not, and would push out what is worth more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from llmrt.engine.kv.disk_loader import DiskLoader, Place
from llmrt.engine.kv.disk_saver import DiskSaver
from llmrt.engine.kv.disk_store import DiskStore
from llmrt.engine.kv.pages import Pages
from llmrt.engine.request import Request

_SHORTEST_PROMPT = 256
_PAGE_BYTES = 8 << 20  # of memory, for blocks on their way in one direction
_STEP_SECONDS = 0.002  # for copies between two steps, in each direction
_WAIT_SECONDS = 0.005  # after which the engine looks for other work again


class NoDiskCache:
    """Keeps nothing."""

    has_work = False

    def __contains__(self, key: object) -> bool:
        """See ``DiskCache``."""
        return False

    def keep(self, request: Request, start: int, end: int) -> None:
        """See ``DiskCache``."""

    def is_loading(self, key: bytes) -> bool:
        """See ``DiskCache``."""
        return False

    def begin(self, request: Request, places: Sequence[Place]) -> None:
        """See ``DiskCache``."""
        raise AssertionError("nothing was found here")

    def drop(self, request: Request) -> None:
        """See ``DiskCache``."""

    def advance(
        self, find: Callable[[bytes], int | None], found: Callable[[Place], None]
    ) -> tuple[Request, bool] | None:
        """See ``DiskCache``."""

    def wait(self) -> None:
        """See ``DiskCache``."""


class DiskCache:
    """Blocks between ``pages`` and ``store``; ``notify`` is told once if the disk does not take them."""

    def __init__(self, store: DiskStore, pages: Pages, notify: Callable[[str], None]) -> None:
        most_pages = max(2, _PAGE_BYTES // pages.num_bytes)
        self._store = store
        self._saver = DiskSaver(store, pages, most_pages, notify)
        self._loader = DiskLoader(store, pages, most_pages)

    def __contains__(self, key: object) -> bool:
        """Whether the block is saved."""
        return key in self._store

    @property
    def has_work(self) -> bool:
        """Whether something is on its way."""
        return self._saver.has_work or self._loader.has_work

    def keep(self, request: Request, start: int, end: int) -> None:
        """The blocks ``start`` to ``end`` of a prompt are in the prefix cache: save them if it is worth it."""
        if request.num_prompt_tokens >= _SHORTEST_PROMPT and request.pooling is None:
            self._saver.want(request.block_keys[start:end])

    def is_loading(self, key: bytes) -> bool:
        """Whether the block is on its way from the disk."""
        return self._loader.is_loading(key)

    def begin(self, request: Request, places: Sequence[Place]) -> None:
        """Load the blocks of ``places`` for ``request``."""
        self._loader.begin(request, places)

    def drop(self, request: Request) -> None:
        """Load no more for ``request``."""
        self._loader.drop(request)

    def advance(
        self, find: Callable[[bytes], int | None], found: Callable[[Place], None]
    ) -> tuple[Request, bool] | None:
        """Copy for a moment between two steps: blocks that ``find`` knows by their keys, and such as were read.

        ``found`` is told of those. Returns a request whose load ended, and whether all of it came.
        """
        self._saver.advance(find, time.monotonic() + _STEP_SECONDS)
        return self._loader.advance(found, time.monotonic() + _STEP_SECONDS)

    def wait(self) -> None:
        """Wait a moment for a block to be read or written."""
        (self._loader if self._loader.has_work else self._saver).wait(_WAIT_SECONDS)
