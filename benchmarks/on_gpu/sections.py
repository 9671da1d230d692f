"""Running one section after the other, whatever becomes of each, with the results on disk all along.

They run in another process. One that raises, crashes or takes too long ends it, for a fault spoils a process's device;
the others go on in a new one.
"""

from __future__ import annotations

import json
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from benchmarks.on_gpu.bars import table, verdicts

Rows = Iterator[tuple[str, Any]]  # each with its name, as it is measured
Outcome = dict[str, Any]

SLACK = 15.0  # seconds that each may take more


@dataclass(frozen=True)
class Section:
    """What ``run`` measures takes ``seconds`` on an H200. It is ended when it took twice that and some."""

    run: Callable[[], Rows]
    seconds: float

    @property
    def most_seconds(self) -> float:
        """That it may take."""
        return 2 * self.seconds + SLACK


class Sections:
    """``num_failed`` of them did not end well. After ``seconds`` none is under way; the results go to ``file``."""

    def __init__(self, file: Path | None, seconds: float) -> None:
        self.num_failed = 0
        self._file = file
        self._end = time.monotonic() + seconds
        self.outcomes: dict[str, Outcome] = {}

    def run(self, sections: Mapping[str, Section]) -> None:
        """Run all, print what they give, and write the report after each row."""
        left = dict(sections)
        while left and time.monotonic() < self._end:
            self._run_until_one_fails(left)
        for name in left:
            self._record(name, {"skipped": "out of time"}, 0.0)
        print(table(verdicts(self.outcomes)), flush=True)

    def _run_until_one_fails(self, left: dict[str, Section]) -> None:
        """Those that were run are removed from ``left``."""
        context = get_context("spawn")
        results, results_of_child = context.Pipe(duplex=False)
        child = context.Process(target=_run_all, args=([section.run for section in left.values()], results_of_child))
        child.start()
        results_of_child.close()
        try:
            _next(results, self._end)  # it has begun
            for name, section in list(left.items()):
                del left[name]
                if not self._has_ended_well(name, section.most_seconds, results):
                    return
        finally:
            _end(child)

    def _has_ended_well(self, name: str, seconds: float, results: Connection) -> bool:
        """Take the rows of a section as they come, up to its end."""
        start, rows = time.monotonic(), dict[str, Any]()
        end = min(start + seconds, self._end)
        while isinstance(message := _next(results, end), tuple):
            row, value = message
            rows[row] = value
            self._write(name, {"seconds": round(time.monotonic() - start, 1), "rows": rows, "error": "not ended"})
        self._record(name, {**({"rows": rows} if rows else {}), **message}, time.monotonic() - start)
        return not message

    def _record(self, name: str, outcome: Outcome, seconds: float) -> None:
        self.num_failed += "error" in outcome or "skipped" in outcome
        self._write(name, {"seconds": round(seconds, 1), **outcome})
        print(f"== {name}", json.dumps(self.outcomes[name], indent=1), sep="\n", flush=True)

    def _write(self, name: str, outcome: Outcome) -> None:
        self.outcomes[name] = outcome
        if self._file is not None:
            report = {"bars": verdicts(self.outcomes), "sections": self.outcomes}
            fresh = self._file.with_suffix(".tmp")  # who is killed while writing has still written what was before
            fresh.write_text(json.dumps(report, indent=1) + "\n")
            fresh.replace(self._file)


Message = tuple[str, Any] | dict[str, Any]  # a row, or how a section ended: {} for well


def _next(results: Connection, end: float) -> Message:
    seconds = max(0.0, end - time.monotonic())
    if not results.poll(seconds):
        return {"error": "not ready in time"}
    try:
        return results.recv()
    except EOFError:
        return {"error": "its process died"}


def _run_all(sections: list[Callable[[], Rows]], results: Connection) -> None:
    os.setsid()  # so that what a section starts can be ended with it
    results.send({})
    for section in sections:
        results.send(_ended(section, results))


def _ended(section: Callable[[], Rows], results: Connection) -> Outcome:
    try:
        for row in section():
            results.send(row)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc().splitlines()[-12:]}
    return {}


def _end(child: BaseProcess) -> None:
    """And what it started, if it has come so far."""
    assert child.pid is not None
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    child.join()
