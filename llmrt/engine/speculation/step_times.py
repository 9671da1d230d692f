"""How long decode steps take, by what makes them long. Free of torch.

A step's time depends on its rows, one for each token that is computed, and on how many keys these look at. Kernels make
jumps between numbers of rows, and whoever shares the processor has a say: so all of it is measured, and what was
measured long ago is forgotten.
"""

from __future__ import annotations

from collections import deque
from statistics import median

_SAMPLES = 5
_MEMORY = 512  # steps
_NEAR = 512  # keys, below which a few more make no difference


class StepTimes:
    """The median of the last times, for each number of rows and each power of two of keys."""

    def __init__(self) -> None:
        self._step = 0
        self._begun: set[int] = set()
        self._times: dict[tuple[int, int], deque[tuple[int, float]]] = {}

    def measured(self, rows: int, keys: int, seconds: float) -> None:
        """A step of so many ``rows``, each over ``keys`` keys, took ``seconds``; the first is not like the others."""
        self._step += 1
        if rows not in self._begun:
            self._begun.add(rows)
            return
        self._times.setdefault((rows, _depth(keys)), deque(maxlen=_SAMPLES)).append((self._step, seconds))

    def seconds(self, rows: int, keys: int) -> float | None:
        """What such a step takes, None where that is not known."""
        times = self._times.get((rows, _depth(keys)))
        while times and times[0][0] < self._step - _MEMORY:
            times.popleft()
        return median(seconds for _, seconds in times) if times else None


def _depth(keys: int) -> int:
    return max(keys, _NEAR).bit_length()
