"""Strings that are looked for in a text that comes in pieces."""

from __future__ import annotations

from collections.abc import Sequence

from llmrt.errors import RequestError


class StopStrings:
    """Gives a text out up to the stop string that begins first, as soon as no later piece can change it.

    An end of the text that may become a stop string is withheld until that is decided. ``stopped`` is the stop
    string that was found; what comes after it is dropped, and so is the string unless ``include``. Raises
    ``RequestError`` for an empty one.
    """

    def __init__(self, stop: Sequence[str], *, include: bool = False) -> None:
        if "" in stop:
            raise RequestError("stop holds an empty string; it needs a character.", param="stop")
        self.stopped: str | None = None
        self._stop = sorted(stop, key=len)  # of two that begin at the same place, the shorter ends first
        self._include = include
        self._withheld = ""

    def push(self, text: str) -> str:
        """The text that is certain now; "" once a stop string was found."""
        if self.stopped is not None:
            return ""
        if not self._stop:
            return text
        self._withheld += text
        return self._release(first_undecided(self._withheld, self._stop))

    def finish(self) -> str:
        """What was withheld, at the end of the text."""
        return self._release(len(self._withheld))

    def _release(self, end: int) -> str:
        """Give out the withheld text up to ``end``, or up to a stop string that begins before."""
        start, stop = first_found(self._withheld, self._stop)
        if stop is not None and start <= end:
            cut = start + len(stop) if self._include else start
            self.stopped, released, self._withheld = stop, self._withheld[:cut], ""
        else:
            released, self._withheld = self._withheld[:end], self._withheld[end:]
        return released


def first_found(text: str, strings: Sequence[str]) -> tuple[int, str | None]:
    """The place of the string that begins first in ``text``, the earlier of ``strings`` where two do."""
    if not strings:
        return len(text), None
    found = [(start, string) for string in strings if (start := text.find(string)) >= 0]
    return min(found, key=lambda pair: pair[0], default=(len(text), None))


def first_undecided(text: str, strings: Sequence[str]) -> int:
    """Where the first end of ``text`` begins that may still become one of ``strings``."""
    if not strings:
        return len(text)
    longest = max(map(len, strings))
    for start in range(max(0, len(text) - longest + 1), len(text)):
        if any(string.startswith(text[start:]) for string in strings):
            return start
    return len(text)
