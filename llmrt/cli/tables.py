"""How commands print: columns for people, JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

_PIPE_WIDTH = 10_000  # nothing is folded when another program reads the output


def print_json(value: Any) -> None:
    """Print a dataclass, or what is built of them, as indented JSON."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value)).decode())


def print_facts(facts: Iterable[tuple[str, str | None]]) -> None:
    """Print a label and a value a line, leaving out what is None."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # a path that was cut could not be copied
    for label, value in facts:
        if value is not None:
            table.add_row(label, value)
    console().print(table, markup=False)


def print_rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns under their titles."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, title in enumerate(header):
        justify = "right" if title == "SIZE" else "left"
        table.add_column(title, no_wrap=index == 0, overflow="fold", justify=justify)
    for row in rows:
        table.add_row(*row)
    console().print(table, markup=False)


def console() -> Console:
    """What to print tables and text on; what is printed is not coloured by its content."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
