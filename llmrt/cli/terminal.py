"""What a command reads from a pipe and writes to the terminal: answers on stdout, all else on stderr."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Generator
from contextlib import closing
from shutil import get_terminal_size
from stat import S_ISFIFO, S_ISREG

import typer

from llmrt.errors import RequestError

_PATIENCE_SECONDS = 2.0  # before a pipe that brings nothing is worth a word
_SILENCE_SECONDS = 30.0  # before it is left out


def say(line: str) -> None:
    """Print a line that is no part of an answer."""
    typer.secho(line, dim=True, err=True)


def complain(error: Exception) -> None:
    """Print an error that does not end the program; NO_COLOR (https://no-color.org) leaves it without colour."""
    typer.secho(f"error: {error}", fg=None if os.environ.get("NO_COLOR") else "red", err=True)


def write(text: str) -> None:
    """Print a piece of an answer at once; characters that stdout's encoding lacks appear as escapes."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()


def write_answer(pieces: Generator[str]) -> None:
    """Print an answer as it comes, and a new line unless it ends with one. ``pieces`` are closed however this ends.

    In a terminal lines are broken between words.
    """
    piece, wrap = "", _word_wrap() if _is_drawn() else str
    with closing(pieces):
        for piece in pieces:
            write(wrap(piece))
    if not piece.endswith("\n"):
        write("\n")


def _word_wrap() -> Callable[[str], str]:
    from llmrt.cli.wrapping import WordWrap  # with tables of characters that pipes do without

    return WordWrap(get_terminal_size().columns).push


def _is_drawn() -> bool:
    """Whether stdout is a terminal whose cursor can be moved."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def behind_piped_text(prompt: str, what: str) -> str:
    """``prompt``, after what a pipe or a file on stdin holds: ``llmrt chat MODEL "Summarize this." < page.txt``.

    Other kinds of stdin, such as a connection, may never end. Raises ``RequestError`` as ``read_stdin`` does.
    """
    mode = os.fstat(sys.stdin.fileno()).st_mode
    text = read_stdin(what) if S_ISREG(mode) or (S_ISFIFO(mode) and _pipe_speaks()) else ""
    return f"{text}\n\n{prompt}" if text else prompt


def _pipe_speaks() -> bool:
    """Whether a pipe brings something, or its end. Programs that start others may hold one open and never write."""
    if select.select([sys.stdin], [], [], _PATIENCE_SECONDS)[0]:
        return True
    say("waiting for stdin, whose text goes before the prompt; < /dev/null leaves it out")
    if select.select([sys.stdin], [], [], _SILENCE_SECONDS - _PATIENCE_SECONDS)[0]:
        return True
    say(f"nothing came from stdin in {_SILENCE_SECONDS:g} seconds; going on without it")
    return False


def read_stdin(what: str) -> str:
    """All of stdin as ``what``, without the one newline at its end that echo puts there.

    Raises ``RequestError`` when it is not UTF-8.
    """
    try:
        text = sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(f"{what} on stdin is not UTF-8 text: byte {error.start} is wrong.") from error
    return text.removesuffix("\n").removesuffix("\r")
