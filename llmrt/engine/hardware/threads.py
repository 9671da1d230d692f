"""How many threads the processor's share of this process is good for, and how torch is imported. Free of torch."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from contextlib import contextmanager

from llmrt.engine.hardware.cgroup import quotas
from llmrt.engine.hardware.sysctl import sysctl

# Turns of libgomp's waiting loop before a thread sleeps. Its default spins for some 15 ms, so that one other busy
# process takes decoding from 30 to 2 tok/s; with this it goes from 28 to 12.
SPIN_COUNT = "6000"


def limit_spinning() -> None:
    """Make torch's threads yield soon when they wait. It is read when torch is imported, so call this before.

    Large tensors are to lie on large pages: a KV cache is read in no order, and each small page has to be looked up.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


@contextmanager
def importing_torch() -> Generator[None]:
    """Around the first import of torch, which makes very many objects, none of which is garbage to look for.

    What is there at the end is never looked through again, at the process's end neither: together 0.6 s.
    """
    limit_spinning()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def usable_cores() -> int:
    """Physical cores, within this process's affinity and the quotas of its control groups; at least 1."""
    try:
        import psutil
    except ModuleNotFoundError:  # on a machine that only measures a GPU
        return os.cpu_count() or 1
    # A Mac's fast ones alone, for a call ends when the slowest thread has done its part.
    physical = int(sysctl("hw.perflevel0.physicalcpu") or psutil.cpu_count(logical=False) or 1)
    return max(1, min([physical, len(_affinity()), *quotas()]))


def _affinity() -> list[int]:
    import psutil

    return (
        psutil.Process().cpu_affinity() if hasattr(psutil.Process, "cpu_affinity") else list(range(os.cpu_count() or 1))
    )
