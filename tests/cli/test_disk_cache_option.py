"""``--disk-cache``: what is a size, and that a prompt of one process is found by the next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from llmrt.cli.options import parse_bytes
from llmrt.hub.prompts import prompts_bytes
from tests.cli.conftest import CommandLine


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("2GB", 2 * 10**9), ("1.5 g", 1.5e9), ("500mb", 5e8), ("1T", 10**12), (2 * 10**9, 2 * 10**9)],
)
def test_sizes(text: str | int, expected: float) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "2", "2kB", "GB", "-1GB", "2GBs", "a lot"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="500MB or 2GB"):
        parse_bytes(text)


def generated(llmrt: CommandLine, tiny: Path, *options: str) -> dict[str, Any]:
    prompt = "These are words that somebody may ask about again. " * 8
    status, out, err = llmrt("generate", str(tiny), prompt, "--max-tokens", "4", "--json", *options)
    assert status == 0, err
    return json.loads(out)


def test_generate_finds_the_prompt_of_the_process_before(
    tiny: Path, llmrt: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMRT_HOME", str(tmp_path))
    monkeypatch.delenv("LLMRT_DISK_CACHE")
    off = generated(llmrt, tiny, "--disk-cache", "0")
    assert not list(tmp_path.iterdir())
    cold, warm = generated(llmrt, tiny), generated(llmrt, tiny)
    assert prompts_bytes(tiny) > 0
    assert [each["usage"]["cached_tokens"] for each in (off, cold)] == [0, 0]
    num_prompt = warm["usage"]["prompt_tokens"]
    assert warm["usage"]["cached_tokens"] == (num_prompt - 1) // 64 * 64 > 0
    assert off["token_ids"] == cold["token_ids"] == warm["token_ids"]
