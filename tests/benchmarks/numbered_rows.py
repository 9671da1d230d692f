"""A section for a process of its own, which then need not import torch."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.on_gpu.sections import Rows


def numbers(count: int, then: Callable[[], object]) -> Rows:
    """So many rows; what comes ``then`` may end it in another way."""
    yield from ((str(i), i) for i in range(count))
    then()
