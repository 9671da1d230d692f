"""Memory for blocks of the KV cache, asked of the system before they are written. Free of torch.

The system commits memory where it is first written, a large page at a time, and clears it: that takes 0.1 ms, and some
milliseconds in a virtual machine whose host commits late as well. A step that comes to new blocks would wait for pages
of every layer, and so would all who decode in it.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Thread
from time import sleep

_AHEAD = 16  # blocks; half of them are what eight streams or a step of a prompt come to at once
_PAUSE = 0.01  # seconds between two stripes: clearing takes a core from whoever computes, so never for long
_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE of Linux 5.14 and later; others refuse it, and commit where it is written


def commit_memory(address: int, num_bytes: int) -> None:
    """Have the system commit this memory, if it can; what is in it stays."""
    if sys.platform != "linux":
        return
    start = address // mmap.PAGESIZE * mmap.PAGESIZE
    madvise = ctypes.CDLL(None).madvise
    madvise(ctypes.c_void_p(start), ctypes.c_size_t(address + num_bytes - start), _POPULATE_WRITE)


@dataclass(frozen=True)
class Stripe:
    """One layer's keys and values, or their scales: block i has ``size`` bytes from ``address`` + i * ``size``."""

    address: int
    size: int


class CommitAhead:
    """Told of each block that is taken, it commits what will be taken next, in the background.

    Blocks that were never used are taken in order, so all below the highest were asked for before.
    """

    def __init__(
        self, stripes: Sequence[Stripe], num_blocks: int, commit: Callable[[int, int], None] = commit_memory
    ) -> None:
        self._stripes, self._num_blocks, self._commit = stripes, num_blocks, commit
        self._end = 0  # of the blocks that were asked for

    def take(self, block: int) -> Thread | None:
        """``block`` is written soon. Returns the thread that asks for more, if more is needed."""
        if min(block + _AHEAD // 2, self._num_blocks) <= self._end:
            return None
        start, self._end = self._end, min(block + _AHEAD, self._num_blocks)
        thread = Thread(target=self._ask, args=(start, self._end), name="commit-ahead", daemon=True)
        thread.start()
        return thread

    def _ask(self, start: int, end: int) -> None:
        for stripe in self._stripes:
            self._commit(stripe.address + start * stripe.size, (end - start) * stripe.size)
            sleep(_PAUSE)
