from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from llmrt.cli.main import main

CommandLine = Callable[..., tuple[object, str, str]]


@pytest.fixture(autouse=True)
def prompts_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMRT_DISK_CACHE", "0")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.cli.tiny_model import make_tiny_llama

    return make_tiny_llama(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def llmrt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """Run a command line in this process: (status, stdout, stderr). ``stdin`` is what a pipe holds."""

    def run(*arguments: str, stdin: bytes = b"") -> tuple[object, str, str]:
        with tempfile.TemporaryFile() as held:
            held.write(stdin)
            held.seek(0)
            monkeypatch.setattr(sys, "argv", ["llmrt", *arguments])
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(held))
            with pytest.raises(SystemExit) as exit_info:
                main()
        out, err = capsys.readouterr()
        return exit_info.value.code, out, err

    return run
