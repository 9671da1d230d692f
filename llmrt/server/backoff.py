"""How long to wait before a process that ended is started again, and when to stop trying."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Backoff:
    """Waits double from ``first`` to ``most`` seconds while lives are short, and start anew after a healthy one.

    A life of ``healthy`` seconds is a healthy one; ``max_deaths`` short ones in a row are enough.
    """

    first: float = 0.5
    most: float = 30.0
    healthy: float = 60.0
    max_deaths: int = 8
    num_deaths: int = 0

    def after(self, life: float) -> float | None:
        """Seconds to wait after a life of ``life`` seconds; None to stop trying."""
        self.num_deaths = 1 if life >= self.healthy else self.num_deaths + 1
        if self.num_deaths >= self.max_deaths:
            return None
        return min(self.first * 2 ** (self.num_deaths - 1), self.most)
