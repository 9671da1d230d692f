"""Those who come from Ollama, llama.cpp or vLLM are understood, or told what there is instead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmrt.cli.main import COMMANDS, load_command
from llmrt.cli.spellings import _OPTIONS, COMMANDS_INSTEAD, OTHER_NAMES
from llmrt.library.settings import engine_config
from tests.cli.conftest import CommandLine


def test_other_spellings_do_the_same(tiny: Path, llmrt: CommandLine) -> None:
    elsewhere = (
        "-c",
        "256",
        "-n",
        "9",
        "-t",
        "1",
        "-s",
        "7",
        "--temp",
        "1.5",
        "--repeat-penalty",
        "1.3",
        "-p",
        "hello",
    )
    drawn = ("--temperature", "1.5", "--repetition-penalty", "1.3", "--seed", "7")
    here = ("hello", "--ctx", "256", "--max-tokens", "9", "--threads", "1", *drawn)
    status, answer, _ = llmrt("run", str(tiny), *elsewhere)
    assert (status, answer) == llmrt("chat", str(tiny), *here)[:2] and status == 0


@pytest.mark.parametrize(
    ("name", "here"),
    [("bfloat16", "bf16"), ("half", "fp16"), ("float16", "fp16"), ("float32", "fp32"), ("BF16", "bf16")],
)
def test_types_are_spelt_as_by_others(name: str, here: str, tiny: Path, llmrt: CommandLine) -> None:
    status, out, _ = llmrt("fit", str(tiny), "--quant", "none", "--dtype", name, "--kv-dtype", name, "--json")
    assert status == 0
    assert [json.loads(out)[key] for key in ("dtype", "kv_dtype")] == [here, here]
    assert engine_config(dtype=f"torch.{name}").dtype == engine_config(kv_dtype=name).kv_dtype == here


def test_choices_may_be_in_capitals(tiny: Path, llmrt: CommandLine) -> None:
    settings = {"quant": "INT4", "dtype": "AUTO", "kv_dtype": "Int8", "speculate": "OFF"}
    status, out, _ = llmrt("fit", str(tiny), "--quant", "INT4", "--dtype", "AUTO", "--kv-dtype", "Int8", "--json")
    assert status == 0
    assert [json.loads(out)[key] for key in ("quant", "kv_dtype")] == ["int4", "int8"]
    config = engine_config(**settings)
    assert {name: getattr(config, name) for name in settings} == {k: v.lower() for k, v in settings.items()}


def test_a_message_needs_no_quotes(tiny: Path, llmrt: CommandLine) -> None:
    settings = ("--temperature", "0", "--threads", "1")
    status, answer, _ = llmrt("run", str(tiny), "hello", "my", "world", "-n", "9", *settings)
    assert (status, answer) == llmrt("run", str(tiny), "hello my world", "-n", "9", *settings)[:2] and status == 0


def test_a_benchmark_is_asked_for_as_llama_bench_is(tiny: Path, llmrt: CommandLine) -> None:
    _, out, _ = llmrt("bench", str(tiny), "-p", "16", "-n", "2", "-r", "1", "-d", "32", "-t", "1", "--json")
    settings = json.loads(out)["settings"]
    assert [settings[name] for name in ("prompt_tokens", "output_tokens", "repeat", "depth")] == [16, 2, 1, 32]


@pytest.mark.parametrize("penalty", ["--repetition-penalty", "--frequency-penalty", "--presence-penalty"])
def test_penalties_keep_a_text_from_repeating_itself(tiny: Path, llmrt: CommandLine, penalty: str) -> None:
    def kinds(*options: str) -> int:
        _, out, _ = llmrt("generate", str(tiny), "hello", "--max-tokens", "60", "--threads", "1", "--json", *options)
        return len(set(json.loads(out)["token_ids"]))

    assert kinds(penalty, "2") > kinds()


@pytest.mark.parametrize(
    ("command", "typed", "advice"),
    [
        ("chat", ("-ngl", "99"), "-ngl is no option here"),
        ("chat", ("--mirostat=2",), "--top-p"),
        ("serve", ("-m", "x.gguf"), "stands by itself"),
        ("generate", ("m", "-p", "The sea"), "stands by itself, after the model"),
        ("serve", ("m", "-p", "8001"), "`llmrt serve` --port"),
        ("serve", ("--temp", "0.2"), "Requests to a server say"),
        ("serve", ("--tensor-parallel-size", "2"), "one GPU"),
        ("ps", (), "/api/ps"),
        ("create", ("x", "-f", "Modelfile"), "--system"),
        ("serve", ("m", "--verbose"), "--log-level"),
        ("serve", ("m", "--download-dir", "/x"), "HF_HOME"),
        ("serve", ("m", "--allowed-origins", "*"), "--cors-origin"),
        ("serve", ("m", "--rope-scaling", "{}"), "the model's own files"),
        ("help", (), "llmrt --help"),
        ("smollm2-135m", ("hello",), "llmrt chat smollm2-135m"),
        ("models/x.gguf", (), "llmrt chat models/x.gguf"),
    ],
)
def test_what_is_otherwise_here_is_said(llmrt: CommandLine, command: str, typed: tuple[str, ...], advice: str) -> None:
    status, _, err = llmrt(command, *typed)
    assert status == 2
    assert advice in " ".join(err.replace("│", " ").split())


@pytest.mark.parametrize("typed", [("-h",), ("serve", "-h"), ("chat", "-h")])
def test_help_is_what_h_asks_for(llmrt: CommandLine, typed: tuple[str, ...]) -> None:
    assert llmrt(*typed) == llmrt(*typed[:-1], "--help") and llmrt(*typed)[0] == 0


def test_an_option_of_here_is_not_taken_for_one_of_elsewhere(llmrt: CommandLine) -> None:
    status, _, err = llmrt("chat", "m", "--temperature", "warm")
    assert status == 2 and "no option here" not in err


def test_no_message_is_given_twice(llmrt: CommandLine) -> None:
    status, _, err = llmrt("chat", "m", "hello", "--prompt", "hi")
    assert status == 1 and "two messages" in err


def test_every_spelling_is_of_an_option_and_of_no_other() -> None:
    params = [param for name in COMMANDS for param in load_command(name).params]
    names = {name for param in params for name in param.opts}
    assert set(_OPTIONS) <= {param.name for param in params}
    assert names.isdisjoint(spelling for spellings in _OPTIONS.values() for spelling in spellings.split())
    assert COMMANDS.keys().isdisjoint({*COMMANDS_INSTEAD, *OTHER_NAMES})
    assert set(OTHER_NAMES.values()) <= COMMANDS.keys()
