"""Worker processes, asked one question at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]


class WorkerError(Exception):
    """A worker could not do what it was asked for; the message says why."""


class Client:
    """A worker process for a ``with`` block."""

    def __init__(self, command: list[str]) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """One question, one answer. Raises ``WorkerError``."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):  # a worker that died has no answer either
            print(json.dumps({"op": op, **fields}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"the worker ended ({self._process.wait()}) instead of answering {op}")
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply


def llmrt_client() -> Client:
    """This checkout's llmrt."""
    return Client([sys.executable, "-m", "benchmarks.peers.llmrt_worker"])


def llama_cpp_client(python: Path) -> Client:
    """llama.cpp in the environment of ``python``. Raises ``WorkerError`` if it is not there."""
    if not python.exists():
        raise WorkerError(f"{python} is missing; make it with `make peers`, or name another with --peer-python.")
    return Client([str(python), str(ROOT / "benchmarks/peers/llama_cpp_worker.py")])


def commit() -> str:
    """The last commit of the checkout that changed llmrt or its kernels, marked if their files differ from it."""
    code = ("llmrt", "kernels")

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments, "--", *code], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return git("log", "-1", "--format=%h") + ("-dirty" if git("status", "--porcelain") else "")
