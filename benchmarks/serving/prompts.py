"""Prompts of random tokens: no two begin alike, so nothing is found in a cache of prefixes."""

from __future__ import annotations

import random

_FIRST, _LAST = 1000, 40000  # tokens of words and parts of words


class Prompts:
    """Draws them, the same ones for the same ``seed``."""

    def __init__(self, seed: int = 0) -> None:
        self._draw = random.Random(seed)

    def of(self, length: int) -> list[int]:
        """The next prompt of ``length`` tokens."""
        return self._draw.choices(range(_FIRST, _LAST), k=length)
