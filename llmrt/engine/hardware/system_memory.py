"""Memory as the system gives it and takes it back. Free of torch."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Generator
from contextlib import contextmanager

from llmrt.engine.hardware.cgroup import memory_limits
from llmrt.errors import MemoryFitError

_REFUSED = re.compile("allocate memory|out of memory|ALLOC_FAILED", re.IGNORECASE)  # by the system, by a GPU


def available_memory() -> int:
    """Bytes that this process may still use: what the system has left or its control groups do."""
    import psutil

    return min([psutil.virtual_memory().available, *(limit.left for limit in memory_limits())])


def total_memory() -> tuple[int, bool]:
    """Bytes that this process may use at most, and whether that is the limit of a control group, not all there is."""
    import psutil

    total = psutil.virtual_memory().total
    most = min([total, *(limit.most for limit in memory_limits())])
    return most, most < total


@contextmanager
def allocation() -> Generator[None]:
    """Inside, memory that the system or a GPU refuses is a ``MemoryFitError``."""
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not isinstance(error, MemoryError) and not _REFUSED.search(str(error)):
            raise
        raise MemoryFitError(
            "The system refused memory that seemed to be there: a limit such as `ulimit -v`, or another process, keeps"
            " it. A smaller --ctx, --kv-dtype or --max-num-seqs needs less."
        ) from error


def give_back_freed_memory() -> None:
    """Return to the system what large temporaries left in the allocator's hands; only glibc has a call for it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
