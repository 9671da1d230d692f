"""Giving memory back to the system. Free of torch."""

from __future__ import annotations

import ctypes


def give_back_freed_memory() -> None:
    """Return to the system what large temporaries left in the allocator's hands; only glibc has a call for it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
