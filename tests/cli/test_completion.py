"""What a shell is offered: commands, their options, and models."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from llmrt.cli.main import COMMANDS

ALIASES = {"mistral-7b", "mistral-7b-v0.1"}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("llmrt ch", {"chat"}),
        ("llmrt fit --kv", {"--kv-dtype"}),
        ("llmrt chat mistral", ALIASES),
        ("llmrt pull mistral", ALIASES),
        ("llmrt serve mistral", ALIASES),
        ("llmrt rm mistral", set[str]()),
        ("llmrt ", {*COMMANDS}),
        ("llmrt smollm2-135m ", {*COMMANDS}),
        ("llmrt ps ", {*COMMANDS}),
    ],
)
def test_completion(words: str, offered: set[str], tmp_path: object) -> None:
    position = words.count(" ")
    asked = {"_LLMRT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(position)}
    command = [sys.executable, "-c", "from llmrt.cli.main import app; app(prog_name='llmrt')"]
    environment = {**os.environ, **asked, "LLMRT_HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert set(done.stdout.split()) == offered, done.stderr
