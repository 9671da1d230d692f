"""``--calibrate`` changes what the weights are rounded to, and says what is wrong with its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine

PROMPT = "hello the world"
TEXT = "The sea is a body of salt water that covers most of the Earth. " * 40


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_text(TEXT)
    return file


@pytest.mark.parametrize("command", [("generate",), ("bench", "--prompt", "8", "--gen", "2", "--json")])
def test_a_text_is_taken(command: tuple[str, ...], tiny: Path, text: Path, llmrt: CommandLine) -> None:
    name, *options = command
    arguments = (str(tiny), *([PROMPT, "--max-tokens", "4"] if name == "generate" else options))
    status, _, err = llmrt(name, *arguments, "--quant", "int4", "--calibrate", str(text))
    assert status == 0, err


def test_faults_are_one_line(tiny: Path, text: Path, tmp_path: Path, llmrt: CommandLine) -> None:
    short = tmp_path / "short.txt"
    short.write_text("Too short.")
    for options, fault in (
        (("--calibrate", str(text)), "goes with --quant int8 or int4"),
        (("--quant", "int4", "--calibrate", str(tmp_path / "none.txt")), "none.txt cannot be read: No such file"),
        (("--quant", "int4", "--calibrate", str(short)), "--calibrate has 10 tokens; it takes a text of 64 at least"),
    ):
        status, _, err = llmrt("generate", str(tiny), PROMPT, *options)
        assert status == 1
        line = err.strip().splitlines()[-1]
        assert line.startswith("error: ")
        assert fault in line
    status, _, err = llmrt("bench", "smollm2-135m", "--random-weights", "--quant", "int4", "--calibrate", str(text))
    assert status == 1
    assert "random weights are rounded without a text" in err
