"""A progress bar with numbers and their rate, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text


@dataclass(frozen=True)
class Bar:
    """``begin`` starts anew with how many there are; ``advance`` counts those that are done."""

    begin: Callable[[int], None]
    advance: Callable[[int], None]


@contextmanager
def progress_bar(what: str, unit: str) -> Generator[Bar]:
    """Show ``what`` on stderr, counted in ``unit``; nothing is shown where stderr is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), _Amount(unit))
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(what, total=None)
        yield Bar(
            begin=lambda total: progress.reset(task, total=total),
            advance=lambda count: progress.advance(task, count),
        )


def compact(number: float) -> str:
    """135 M for 134 515 008."""
    for size, threshold, unit in ((1e9, 1e9, " B"), (1e6, 1e6, " M"), (1e3, 1e4, " k"), (1, 0, "")):
        if number >= threshold:
            scaled = number / size
            return f"{scaled:.0f}{unit}" if scaled >= 100 or size == 1 else f"{scaled:.1f}{unit}"
    raise AssertionError("amounts are not negative")


class _Amount(ProgressColumn):
    """Done, of how many, and how many a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """See ``ProgressColumn.render``."""
        if task.total is None:
            return Text("starting")
        seconds = task.finished_time or task.elapsed or 0.0
        rate = task.completed / seconds if task.finished and seconds else task.speed
        text = f"{compact(task.completed)} of {compact(task.total)} {self._unit}"
        return Text(text if rate is None else f"{text}, {compact(rate)}/s")
