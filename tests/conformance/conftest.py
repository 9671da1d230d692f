"""The servers that are tested: SmolLM2, and one whose model is scripted. Both run in llmrt's own environment."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BIN = Path(os.environ.get("LLMRT_BIN", HERE.parents[1] / ".venv" / "bin")).absolute()
MODEL = "smollm2-135m"


@pytest.fixture(scope="session")
def smollm2() -> Iterator[str]:
    """The URL of a server of a real, small model, in floats: rounded weights turn near ties of its answers."""
    with _running([BIN / "llmrt", "serve", MODEL, "--ctx", "1024", "--port", "0", "--quant", "none"]) as url:
        yield url


@pytest.fixture(scope="session")
def scripted() -> Iterator[str]:
    """The URL of a server that answers at once, with what it was asked."""
    with _running([BIN / "python", HERE / "scripted_server.py"]) as url:
        yield url


@contextmanager
def _running(command: Sequence[str | Path]) -> Iterator[str]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parents[1])
    try:
        yield _url(process)
    finally:
        process.terminate()
        process.wait(20)


def _url(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if "is served at " in line:
            return line.partition("is served at ")[2].split()[0].removesuffix("/v1")
    raise AssertionError(f"the server ended with status {process.wait()}")
