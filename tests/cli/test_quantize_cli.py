"""``llmrt quantize`` and ``llmrt eval`` as a user runs them, and what show and rm tell of their files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmrt.hub import store
from llmrt.hub.packed import packed_copies
from tests.cli.conftest import CommandLine
from tests.cli.tiny_model import make_tiny_llama


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("The sea is wide, and the ships on it are few. " * 8)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_tiny_llama(tmp_path / "tiny")


def test_a_quantized_folder_is_a_model_with_its_figures(
    llmrt: CommandLine, model: Path, text: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    status, printed, said = llmrt("quantize", str(model), "--quant", "int4", "-o", str(out), "--eval", str(text))
    assert status == 0, said
    assert "KL divergence" in printed
    assert {path.name for path in out.iterdir()} >= {"config.json", "tokenizer.json", "packed.safetensors"}
    shown = json.loads(llmrt("show", str(out), "--json")[1])["packed"][0]
    assert shown["quant"] == shown["evaluation"]["quant"] == "int4"
    assert shown["evaluation"]["text"] == "text.txt"
    assert "99th percentile" in llmrt("show", str(out))[1]
    by_flag = json.loads(llmrt("generate", str(model), "the sea", "--quant", "int4", "--json")[1])
    by_folder = json.loads(llmrt("generate", str(out), "the sea", "--json")[1])
    assert by_folder["token_ids"] == by_flag["token_ids"]
    report = json.loads(llmrt("bench", str(out), "--prompt", "8", "--gen", "2", "--repeat", "1", "--json")[1])
    assert report["settings"]["quant"] == "int4"


def test_eval_prints_and_keeps_the_same_figures(llmrt: CommandLine, model: Path, text: Path, tmp_path: Path) -> None:
    whole = json.loads(llmrt("eval", str(model), "--quant", "int8", "--text", str(text), "--json")[1])
    out = tmp_path / "out"
    llmrt("quantize", str(model), "--quant", "int8", "-o", str(out))
    kept = json.loads(llmrt("eval", str(out), "--text", str(text), "--json")[1])
    assert kept == whole
    assert whole["perplexity"] > 1 and 0 <= whole["kl_mean"] < 1
    few = json.loads(llmrt("eval", str(model), "--quant", "int8", "--text", str(text), "--tokens", "9", "--json")[1])
    assert few["num_predictions"] == 8


def test_quantize_and_eval_round_for_a_text(llmrt: CommandLine, model: Path, text: Path, tmp_path: Path) -> None:
    plain, out = (
        json.loads(llmrt("eval", str(model), "--quant", "int4", *options, "--text", str(text), "--json")[1])
        for options in ((), ("--calibrate", str(text)))
    )
    assert plain["kl_mean"] != out["kl_mean"]
    folder = tmp_path / "out"
    assert llmrt("quantize", str(model), "-o", str(folder), "--calibrate", str(text))[0] == 0
    assert json.loads(llmrt("eval", str(folder), "--text", str(text), "--json")[1]) == out


def test_what_cannot_be_compared_or_written_is_one_line(
    llmrt: CommandLine, model: Path, text: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert "There is nothing to compare" in llmrt("eval", str(model), "--text", str(text))[2]
    assert "cannot be read" in llmrt("eval", str(model), "--quant", "int4", "--text", str(tmp_path / "none"))[2]
    assert "--quant none leaves the model as it is" in llmrt("quantize", str(model), "--quant", "none", "-o", "x")[2]
    assert "exists already" in llmrt("quantize", str(model), "-o", str(model))[2]
    for command in (("quantize", str(model)), ("merge", str(model), "--lora", str(model))):
        assert r"no\xff is no text" in llmrt(*command, "-o", str(tmp_path / "no\udcff"))[2]
    assert llmrt("quantize", str(model), "-o", str(out))[0] == 0
    assert "is packed already" in llmrt("quantize", str(out), "-o", str(tmp_path / "twice"))[2]
    model.rename(tmp_path / "moved")
    assert "name its source with --source" in llmrt("eval", str(out), "--text", str(text))[2]
    moved = ("--source", str(tmp_path / "moved"))
    assert llmrt("eval", str(out), "--text", str(text), *moved)[0] == 0
    (tmp_path / "moved" / "config.json").write_text((tmp_path / "moved" / "config.json").read_text() + " ")
    assert "is not what" in llmrt("eval", str(out), "--text", str(text), *moved)[2]


def test_rm_frees_the_packed_copies_too(
    llmrt: CommandLine, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMRT_HOME", str(tmp_path / "home"))
    file = store.StoredFile(name="config.json", size=(model / "config.json").stat().st_size, sha256="")
    store.save(
        store.Manifest(
            name="org/tiny",
            source="wheel",
            origin="org/tiny",
            revision="main",
            commit="c",
            path=str(model),
            folder=str(model),
            files=(file,),
            pulled_at=store.now(),
        )
    )
    llmrt("generate", "org/tiny", "the sea", "--quant", "int8", "--max-tokens", "1")
    (copy,) = packed_copies(model)
    assert "packed int8" in llmrt("list")[1]
    assert json.loads(llmrt("list", "--json")[1])["pulled"][0]["packed"][0]["path"] == str(copy)
    assert str(copy) in llmrt("show", "org/tiny")[1]
    assert llmrt("rm", "org/tiny", "--yes")[0] == 0
    assert packed_copies(model) == []
