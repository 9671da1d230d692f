"""What a command reads from a pipe and writes to the terminal: answers on stdout, all else on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import closing

import typer

from llmrt.errors import RequestError


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
    """Print an answer as it comes, and a new line unless it ends with one. ``pieces`` are closed however this ends."""
    piece = ""
    with closing(pieces):
        for piece in pieces:
            write(piece)
    if not piece.endswith("\n"):
        write("\n")


def read_stdin(what: str) -> str:
    """All of stdin as ``what``, without the one newline at its end that echo puts there.

    Raises ``RequestError`` when it is not UTF-8.
    """
    try:
        text = sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(f"{what} on stdin is not UTF-8 text: byte {error.start} is wrong.") from error
    return text.removesuffix("\n").removesuffix("\r")
