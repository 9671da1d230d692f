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
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

Section = Callable[[], Any]
Outcome = dict[str, Any]

SECTION_SECONDS = 240.0  # that one may take


class Sections:
    """``num_failed`` of them gave no rows. After ``seconds`` none is under way; the results go to ``file``."""

    def __init__(self, file: Path | None, seconds: float) -> None:
        self.num_failed = 0
        self._file = file
        self._end = time.monotonic() + seconds
        self.outcomes: dict[str, Outcome] = {}

    def run(self, sections: Mapping[str, Section]) -> None:
        """Run all, print what they return, and write the report after each."""
        left = dict(sections)
        while left and time.monotonic() < self._end:
            self._run_until_one_fails(left)
        for name in left:
            self._record(name, {"skipped": "out of time"}, 0.0)

    def _run_until_one_fails(self, left: dict[str, Section]) -> None:
        """Those that were run are removed from ``left``."""
        context = get_context("spawn")
        results, results_of_child = context.Pipe(duplex=False)
        child = context.Process(target=_run_all, args=(list(left.values()), results_of_child))
        child.start()
        results_of_child.close()
        try:
            for name in list(left):
                start = time.monotonic()
                outcome = self._next(results)
                del left[name]
                self._record(name, outcome, time.monotonic() - start)
                if "rows" not in outcome:
                    return
        finally:
            _end(child)

    def _next(self, results: Connection) -> Outcome:
        seconds = max(0.0, min(SECTION_SECONDS, self._end - time.monotonic()))
        if not results.poll(seconds):
            return {"error": f"not ready after {seconds:.0f} seconds"}
        try:
            return results.recv()
        except EOFError:
            return {"error": "its process died"}

    def _record(self, name: str, outcome: Outcome, seconds: float) -> None:
        self.num_failed += "rows" not in outcome
        self.outcomes[name] = {"seconds": round(seconds, 1), **outcome}
        print(f"== {name}", json.dumps(self.outcomes[name], indent=1), sep="\n", flush=True)
        if self._file is not None:
            self._file.write_text(json.dumps({"sections": self.outcomes}, indent=1) + "\n")


def _run_all(sections: list[Section], results: Connection) -> None:
    os.setsid()  # so that what a section starts can be ended with it
    for section in sections:
        results.send(_outcome(section))


def _outcome(section: Section) -> Outcome:
    try:
        return {"rows": section()}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc().splitlines()[-12:]}


def _end(child: BaseProcess) -> None:
    """And what it started, if it has come so far."""
    assert child.pid is not None
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    child.join()
