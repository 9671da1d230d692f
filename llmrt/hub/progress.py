"""How a download is shown: a bar with size and rate on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

Report = Callable[[str], None]


@dataclass(frozen=True)
class Meter:
    """``advance`` counts bytes as they arrive; ``note`` prints a line."""

    advance: Callable[[int], None]
    note: Report


@contextmanager
def meter(what: str, total: int | None, report: Report) -> Generator[Meter]:
    """Show a download of ``total`` bytes, or of an unknown size."""
    yield from _bar(what, total) if sys.stderr.isatty() else _lines(what, total, report)


def _bar(what: str, total: int | None) -> Generator[Meter]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task(what, total=total)

        def advance(num_bytes: int) -> None:
            progress.advance(task, num_bytes)

        def note(line: str) -> None:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

        yield Meter(advance, note)


def _lines(what: str, total: int | None, report: Report) -> Generator[Meter]:
    report(f"downloading {what}" + (f", {decimal(total)}" if total is not None else ""))
    start, done = time.monotonic(), 0

    def advance(num_bytes: int) -> None:
        nonlocal done
        done += num_bytes

    yield Meter(advance, report)
    seconds = max(time.monotonic() - start, 1e-3)
    report(f"downloaded {decimal(done)} in {seconds:.1f} s, {decimal(int(done / seconds))}/s")
