"""When a process that has work gets nowhere: signs of life tell it from one whose work takes long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psutil

_LOOKS = 4


async def standstill(sign: Callable[[], float], has_work: Callable[[], bool], seconds: float) -> None:
    """Wait until ``sign``, with work all the while, has stayed the same for ``seconds``."""
    looks, before = 0, sign()
    while looks < _LOOKS:
        await asyncio.sleep(seconds / _LOOKS)
        now = sign()
        looks = looks + 1 if has_work() and now == before else 0
        before = now


def processor_seconds(pid: int) -> float:
    """What the process has used. Raises ``psutil.NoSuchProcess``."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system
