"""When a process that has work does nothing. Processor time tells it from one whose work takes long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psutil

_LOOKS = 4


async def standstill(pid: int, has_work: Callable[[], bool], seconds: float) -> None:
    """Wait until the process, with work all the while, has used no processor time for ``seconds``, or is gone."""
    looks, before = 0, -1.0
    while looks < _LOOKS:
        await asyncio.sleep(seconds / _LOOKS)
        try:
            used = _processor_seconds(pid)
        except psutil.NoSuchProcess:
            return
        looks = looks + 1 if has_work() and used == before else 0
        before = used


def _processor_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system
