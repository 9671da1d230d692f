"""The parts that the text of an answer is made of, and the reader that parsers take it from."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from llmrt.text.stop_strings import first_found, first_undecided

T = TypeVar("T")


@dataclass(frozen=True)
class Content:
    """Text for the reader; ``start`` is where it begins in the answer."""

    text: str
    start: int


@dataclass(frozen=True)
class Reasoning:
    """What the model thought before it answered; ``start`` as in ``Content``."""

    text: str
    start: int


@dataclass(frozen=True)
class CallStart:
    """A tool is called; its arguments follow."""

    name: str


@dataclass(frozen=True)
class Arguments:
    """The next piece of a call's arguments, which joined are JSON if the model wrote JSON."""

    text: str


@dataclass(frozen=True)
class CallEnd:
    """The call is whole. A call that the answer's end cut off has none."""


Part = Content | Reasoning | CallStart | Arguments | CallEnd
# Parsing yields parts, and None where it cannot go on without more of the text.
Parse = Generator[Part | None, None, T]


class Source:
    """The end of an answer that is not parsed yet.

    ``text`` begins at character ``start`` of the answer and is all there will be once ``closed``.
    """

    def __init__(self) -> None:
        self.text = ""
        self.start = 0
        self.closed = False
        self._skips_space = False

    def take(self, length: int) -> str:
        """Move past ``length`` characters, and return them."""
        taken, self.text = self.text[:length], self.text[length:]
        self.start += length
        return taken

    def skip_space(self) -> None:
        """Drop white space from here on, also what is yet to come, up to the next other character."""
        self._skips_space = True
        self.take(len(self.text) - len(self.text.lstrip()))
        if self.text:
            self._skips_space = False

    def extend(self, text: str) -> None:
        """The answer goes on with ``text``."""
        self.text += text
        if self._skips_space:
            self.skip_space()


class AnswerParser:
    """Divides an answer into parts while it comes."""

    def __init__(self, parse: Callable[[Source], Parse[None]]) -> None:
        self._source = Source()
        self._parts = parse(self._source)

    def push(self, text: str) -> list[Part]:
        """The parts that ``text`` makes certain."""
        self._source.extend(text)
        return self._advance()

    def finish(self) -> list[Part]:
        """The rest, at the answer's end."""
        self._source.closed = True
        return self._advance()

    def _advance(self) -> list[Part]:
        parts: list[Part] = []
        for part in self._parts:
            if part is None:
                assert not self._source.closed
                break
            parts.append(part)
        return parts


def text_until(source: Source, markers: Sequence[str], kind: type[Content] | type[Reasoning] = Content) -> Parse[str]:
    """All up to the first of ``markers`` is text of ``kind``, less the white space that sets the marker off.

    Returns that space and the marker, which are taken; "" if the answer ends before.
    """
    while True:
        end, marker = first_found(source.text, markers)
        if marker is not None:
            length = len(source.text[:end].rstrip())
            yield from text_of(source, length, kind)
            return source.take(end - length + len(marker))
        if source.closed:
            yield from text_of(source, len(source.text), kind)
            return ""
        certain = source.text[: first_undecided(source.text, markers)]
        yield from text_of(source, len(certain.rstrip() if markers else certain), kind)
        yield None


def text_of(source: Source, length: int, kind: type[Content] | type[Reasoning] = Content) -> Parse[None]:
    """The next ``length`` characters as text of ``kind``."""
    if length:
        start = source.start
        yield kind(source.take(length), start)


def no_marker(source: Source, taken: str) -> Content:
    """What was ``taken`` for a marker was text after all."""
    return Content(taken, source.start - len(taken))


def taken_prefix(source: Source, prefix: str) -> Parse[str]:
    """Take ``prefix`` and the white space before it, if the text goes on with them; else take nothing."""
    while True:
        text = source.text.lstrip()
        if text.startswith(prefix):
            return source.take(len(source.text) - len(text) + len(prefix))
        if source.closed or not prefix.startswith(text):
            return ""
        yield None
