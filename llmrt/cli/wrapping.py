"""Breaks the lines of an answer between words while it comes, for a terminal would break them within."""

from __future__ import annotations

from unicodedata import category, east_asian_width

_FENCE = "```"
_TAB = 8


class WordWrap:
    """Lines of less than ``width`` columns, but for words that are longer, and for the lines of code blocks.

    The last word is shown while it grows; when it meets the border it is erased and begins the next line.
    """

    def __init__(self, width: int) -> None:
        self._limit = width - 1  # in the last column terminals do not agree where the cursor is
        self._column = 0
        self._word = ""
        self._line = ""  # as the answer has it
        self._in_code = False

    def push(self, text: str) -> str:
        """What to write for the next piece of the answer."""
        return "".join(map(self._advance, text))

    def _advance(self, char: str) -> str:
        if char in "\r\n":
            return self._end_line(char)
        self._line += char
        if self._in_code:
            return char
        if char.isspace():
            return self._space(char)
        columns = _width(char)
        broken = "" if self._column + columns <= self._limit else self._break(char)
        self._column += columns
        self._word = char if columns == 2 else self._word + char  # a line may end at any wide character
        return broken + char

    def _space(self, char: str) -> str:
        """At the border it is not shown: what follows begins the next line, unless the answer's own line ends there."""
        self._word = ""
        self._column += _TAB - self._column % _TAB if char == "\t" else 1
        return char if self._column <= self._limit else ""

    def _break(self, char: str) -> str:
        """A new line that begins with the word that ``char`` is part of; none if the word began this one."""
        word = "" if _width(char) == 2 else self._word
        columns = sum(map(_width, word))
        if 0 < columns == self._column or columns > self._limit:
            return ""
        self._column = columns
        return f"\x1b[{columns}D\x1b[K\n{word}" if word else "\n"

    def _end_line(self, char: str) -> str:
        line = self._line.lstrip()
        if line.startswith(_FENCE) and "`" not in line.lstrip("`"):  # else it is code within a line
            self._in_code = not self._in_code
        self._column, self._word, self._line = 0, "", ""
        return char


def _width(char: str) -> int:
    """Columns of a character."""
    if category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if east_asian_width(char) in "WF" else 1
