"""Breaks the lines of an answer between words while it comes, for a terminal would break them within."""

from __future__ import annotations

from wcwidth import iter_graphemes, wcstwidth, wcwidth

_FENCE = "```"
_TAB = 8
_AS_EMOJI = "\ufe0f"  # makes the character before it a wide one
_LONGEST_CLUSTER = 64  # what is longer is nothing that anybody reads, and takes the square of its length to find


class WordWrap:
    """Lines of less than ``width`` columns, but for words that are longer, and for the lines of code blocks.

    The last word is shown while it grows; when it meets the border it is erased and begins the next line.
    """

    def __init__(self, width: int) -> None:
        self._limit = width - 1  # in the last column terminals do not agree where the cursor is
        self._column = 0
        self._word = ""
        self._word_columns = 0
        self._cluster = ""  # the last character as it is drawn, of as many of Unicode's as that takes
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
        gained = self._extend(char)
        broken = "" if self._column + gained <= self._limit else self._break()
        self._column += gained
        self._word_columns += gained
        self._word += char
        return broken + char

    def _extend(self, char: str) -> int:
        """Make ``char`` part of the last cluster or the first of another; returns the columns that this takes."""
        joined = self._cluster + char
        before = self._cluster if len(joined) <= _LONGEST_CLUSTER and next(iter_graphemes(joined)) == joined else ""
        self._cluster = before + char
        if char == _AS_EMOJI or wcwidth(char) == 2:  # a line may end before any wide character
            self._word, self._word_columns = before, _width(before)
        return _width(self._cluster) - _width(before)

    def _space(self, char: str) -> str:
        """At the border it is not shown: what follows begins the next line, unless the answer's own line ends there."""
        self._end_word()
        self._column += _TAB - self._column % _TAB if char == "\t" else max(1, wcwidth(char))
        return char if self._column <= self._limit else ""

    def _break(self) -> str:
        """A new line that begins with the word; none if the word began this one."""
        if self._word_columns == self._column:
            return ""
        self._column = self._word_columns
        return f"\x1b[{self._column}D\x1b[K\n{self._word}" if self._word_columns else "\n"

    def _end_word(self) -> None:
        self._word, self._word_columns, self._cluster = "", 0, ""

    def _end_line(self, char: str) -> str:
        line = self._line.lstrip()
        if line.startswith(_FENCE) and "`" not in line.lstrip("`"):  # else it is code within a line
            self._in_code = not self._in_code
        self._end_word()
        self._column, self._line = 0, ""
        return char


def _width(cluster: str) -> int:
    """Columns that this terminal, as far as it is known, draws."""
    return max(0, wcstwidth(cluster))
