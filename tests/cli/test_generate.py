"""``llmrt generate`` continues a text with the engine's own tokens."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmrt.cli import terminal
from llmrt.cli.generate import generate
from llmrt.cli.main import main
from llmrt.cli.terminal import write
from llmrt.config import EngineConfig
from llmrt.engine.loading.build import build_engine
from llmrt.errors import RequestError
from llmrt.text.load_tokenizer import load_tokenizer
from tests.cli.conftest import CommandLine
from tests.engines import greedy

PROMPT = "hello the world"
OPTIONS = ("--max-tokens", "12", "--threads", "1")


@pytest.fixture(scope="module")
def tokens(tiny: Path) -> list[int]:
    """What the engine says by itself."""
    engine = build_engine(tiny, EngineConfig(threads=1, prefix_caching=False))
    return greedy(engine, load_tokenizer(tiny).encode(PROMPT), 12)


def as_json(llmrt: CommandLine, *arguments: str) -> dict[str, Any]:
    status, out, _ = llmrt("generate", *arguments, *OPTIONS, "--json")
    assert status == 0
    return json.loads(out)


def test_json_has_the_engines_tokens(tiny: Path, llmrt: CommandLine, tokens: list[int]) -> None:
    tokenizer = load_tokenizer(tiny)
    assert not tokenizer.eos_token_ids & set(tokens)
    result = as_json(llmrt, str(tiny), PROMPT)
    assert result["token_ids"] == tokens
    assert result["text"] == tokenizer.decode(tokens)
    assert (result["finish_reason"], result["stop"]) == ("length", None)
    prompt_tokens = len(tokenizer.encode(PROMPT))
    assert result["usage"] == {"prompt_tokens": prompt_tokens, "cached_tokens": 0, "completion_tokens": 12}
    assert all(value > 0 for value in result["timings"].values())


def test_text_goes_to_stdout_and_the_limit_to_stderr(tiny: Path, llmrt: CommandLine, tokens: list[int]) -> None:
    status, out, err = llmrt("generate", str(tiny), PROMPT, *OPTIONS)
    assert (status, out) == (0, load_tokenizer(tiny).decode(tokens) + "\n")
    assert "--max-tokens 12" in err


def test_stop_ends_before_the_text(tiny: Path, llmrt: CommandLine, tokens: list[int]) -> None:
    text = load_tokenizer(tiny).decode(tokens)
    result = as_json(llmrt, str(tiny), PROMPT, "--stop", "never there", "--stop", text[4:6])
    assert result["text"] == text[: text.index(text[4:6])]
    assert (result["finish_reason"], result["stop"]) == ("stop", text[4:6])
    assert result["token_ids"] == tokens[: len(result["token_ids"])]


@pytest.mark.parametrize("argument", [(), ("-",)])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_prompt_may_come_through_a_pipe(
    tiny: Path, llmrt: CommandLine, tokens: list[int], argument: tuple[str, ...], end: str
) -> None:
    status, out, _ = llmrt("generate", str(tiny), *argument, *OPTIONS, stdin=(PROMPT + end).encode())
    assert (status, out) == (0, load_tokenizer(tiny).decode(tokens) + "\n")


def test_an_argument_goes_behind_a_pipe(tiny: Path, llmrt: CommandLine) -> None:
    both = as_json(llmrt, str(tiny), f"the world\n\n{PROMPT}")
    run = [sys.executable, "-m", "llmrt", "generate", str(tiny), PROMPT, *OPTIONS, "--json"]
    done = subprocess.run(run, input="the world\n", capture_output=True, encoding="utf-8", check=True)
    assert json.loads(done.stdout)["token_ids"] == both["token_ids"]


def test_a_connection_on_stdin_is_not_waited_for(tiny: Path) -> None:
    ours, theirs = socket.socketpair()
    run = [sys.executable, "-m", "llmrt", "generate", str(tiny), PROMPT, *OPTIONS]
    with ours, theirs:
        done = subprocess.run(run, stdin=theirs, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout


def test_a_pipe_that_stays_silent_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "_PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(terminal, "_SILENCE_SECONDS", 0.02)
    reading, writing = os.pipe()
    with open(reading) as stdin, open(writing, "w"):
        monkeypatch.setattr(sys, "stdin", stdin)
        assert terminal.behind_piped_text(PROMPT, "The prompt") == PROMPT
    assert capsys.readouterr().err.splitlines()[-1] == "nothing came from stdin in 0.02 seconds; going on without it"


def test_the_same_seed_draws_the_same_text(tiny: Path, llmrt: CommandLine) -> None:
    drawn = {
        seed: [as_json(llmrt, str(tiny), PROMPT, "--temperature", "2", "--seed", seed)["token_ids"] for _ in range(2)]
        for seed in ("1", "2")
    }
    assert drawn["1"][0] == drawn["1"][1] and drawn["2"][0] == drawn["2"][1]
    assert drawn["1"][0] != drawn["2"][0]


def test_characters_that_stdout_lacks_are_shown_as_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    data = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(data, encoding="ascii"))
    write("5 €, é")
    assert data.getvalue() == b"5 \\u20ac, \\xe9"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hi", "--stop", ""), "--stop holds an empty string"),
        (("hi", "--top-k", "271"), "--top-k is 271"),
        (("hi", "--max-tokens", "0"), "--max-tokens is 0"),
        (("",), "The prompt is empty"),
        ((PROMPT * 100,), "maximum context length is 512"),
        (("a\udcff",), "not valid UTF-8 at character 1"),
    ],
)
def test_what_cannot_be_continued_is_one_line(
    tiny: Path, llmrt: CommandLine, arguments: tuple[str, ...], message: str
) -> None:
    status, out, err = llmrt("generate", str(tiny), *arguments, "--threads", "1")
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith("error: ") and message in err.splitlines()[-1]


def test_no_prompt_and_no_pipe(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    with pytest.raises(RequestError, match="PROMPT is missing"):
        generate(str(tiny))


def test_a_stdin_that_is_closed_holds_nothing(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["llmrt", "generate", str(tiny)])
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SystemExit):
        main()
    assert "error: The prompt is empty" in capsys.readouterr().err
    sys.stdin.close()


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_what_goes_to_a_stream_that_is_closed_goes_nowhere(
    name: str, tiny: Path, llmrt: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, name, None)
    status, *said = llmrt("generate", str(tiny), PROMPT, *OPTIONS)
    getattr(sys, name).close()
    assert (status, [bool(text) for text in said]) == (0, [name != "stdout", name != "stderr"])
