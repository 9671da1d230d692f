"""Where a JSON value ends, while it comes."""

from __future__ import annotations

import re

_STEP = re.compile(r'["{}\[\]]')
_STRING_STEP = re.compile(r'\\.|"', re.DOTALL)


class JsonScan:
    """Finds the end of one object, list or string. ``depth`` is how many objects and lists are already open."""

    def __init__(self, depth: int = 0) -> None:
        self._depth = depth
        self._in_string = False
        self._escaped = False

    def feed(self, text: str) -> int | None:
        """The index in ``text``, which follows what was fed before, behind the value's end; None if it goes on."""
        position = 0
        while position < len(text):
            if self._in_string:
                position = self._string(text, position)
            elif (step := _STEP.search(text, position)) is None:
                return None
            else:
                position = step.end()
                self._count(step[0])
            if self._depth == 0 and not self._in_string:
                return position
        return None

    def _count(self, character: str) -> None:
        if character == '"':
            self._in_string = True
        else:
            self._depth += 1 if character in "{[" else -1

    def _string(self, text: str, position: int) -> int:
        """Past the end of the string, or of the text."""
        if self._escaped:
            self._escaped = False
            return position + 1
        for step in _STRING_STEP.finditer(text, position):
            if step[0] == '"':
                self._in_string = False
                return step.end()
        self._escaped = _ends_escaped(text[position:])
        return len(text)


def _ends_escaped(text: str) -> bool:
    return (len(text) - len(text.rstrip("\\"))) % 2 == 1
