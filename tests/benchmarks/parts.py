"""A part of the GPU's benchmark as its program runs it, but for processes: they are threads, and tests are not run."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from queue import Queue
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import gpu
from benchmarks.on_gpu import compiled, kernels, models, sections


def run_part(
    part: str, file: Path, patch: pytest.MonkeyPatch, around: Callable[[], AbstractContextManager[object]] = nullcontext
) -> dict[str, Any]:
    """The report of a run that ended well, with what measures ``around`` it."""

    def process(target: Callable[..., None], args: Sequence[object]) -> Thread:
        def run() -> None:
            with around():
                target(*args)

        return Thread(target=run)

    patch.setattr(sections, "get_context", lambda kind: SimpleNamespace(Pipe=pipe, Process=process))
    patch.setattr(sections, "_end", lambda thread: thread.join())
    patch.setattr(sections.os, "setsid", lambda: None)
    patch.setattr(gpu.signal, "signal", lambda number, handler: None)
    patch.setattr(compiled, "ProcessPoolExecutor", AtOnce)
    patch.setattr(kernels, "_run", passed)
    patch.setattr(shutil, "which", lambda program: program)
    patch.setattr(sys, "argv", ["gpu", "--part", part, "--json", str(file)])
    with pytest.raises(SystemExit) as ended, around():
        gpu.main()
    models._held.clear()
    report = json.loads(file.read_text())
    errors = {name: outcome.get("error", outcome.get("skipped")) for name, outcome in report["sections"].items()}
    assert errors == dict.fromkeys(gpu.PARTS[part])
    assert ended.value.code == 0
    return report


class AtOnce:
    """A pool whose tasks are done where they are handed in."""

    def __init__(self, count: int, context: object) -> None:
        assert count > 0

    def __enter__(self) -> AtOnce:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, run: Callable[..., object], *arguments: object) -> Future[object]:
        future = Future[object]()
        future.set_result(run(*arguments))
        return future


class Ends(Queue[Any]):
    """Both ends of a pipe between threads, which closing one leaves open."""

    send, recv = Queue.put, Queue.get

    def poll(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while self.empty() and time.monotonic() < end:
            time.sleep(0.001)
        return not self.empty()

    def close(self) -> None:
        pass


def pipe(duplex: bool) -> tuple[Ends, Ends]:
    ends = Ends()
    return ends, ends


def passed(command: Sequence[str]) -> tuple[list[str], bool]:
    """Nothing is run, but the files that it names are there."""
    files = [Path(word.split("::")[0]) for word in command if ".py" in word]
    assert files and all(file.is_file() for file in files)
    return ["1 passed"], True
