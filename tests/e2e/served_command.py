"""``llmrt serve`` as a process of its own, on a port that is free."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class ServedCommand:
    pid: int
    url: str
    said: str  # before it was there


@contextmanager
def served_command(*arguments: str, env: Mapping[str, str] | None = None) -> Iterator[ServedCommand]:
    """``llmrt serve`` with these arguments, once it has its model. At the end Ctrl+C ends it with status 0."""
    command = [sys.executable, "-c", "from llmrt.cli.main import main; main()", "serve", *arguments, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        said = ""
        while " is served at " not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        try:
            yield ServedCommand(process.pid, said.rpartition(" is served at ")[2].split("/v1")[0], said)
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait() == 0
