"""``llmrt serve``: its options, and what it imports."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from llmrt.cli.main import app
from llmrt.cli.options import parse_size
from llmrt.config import EngineConfig, ServerSettings
from llmrt.errors import ConfigError
from llmrt.server.served_model import ModelSpec


@pytest.mark.parametrize(("text", "size"), [("32768", 32768), ("32k", 32768), ("1K", 1024), ("1m", 1 << 20), ("1", 1)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "0k", "k", "-1", "1.5k", "32kb", "3 2", "٣"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="tokens"):
        parse_size(text)


def test_a_port_in_use_is_one_clear_line_before_anything_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(app, ["serve", "no-such-model", "--port", str(port)])
    assert isinstance(result.exception, ConfigError)
    assert str(port) in str(result.exception) and "--port" in str(result.exception)


def test_options_reach_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    from llmrt.server import runner

    calls = []

    async def record(specs: list[ModelSpec], sock: object, **rest: object) -> None:
        calls.append((specs, rest))

    monkeypatch.setattr(runner, "serve", record)
    monkeypatch.setattr("llmrt.hub.sources.resolve", lambda model, **_: model)
    arguments = ["serve", "m", "m2", "--ctx", "2k", "--dtype", "bf16", "--kv-dtype", "fp16", "--threads", "3"]
    arguments += ["--device", "cpu", "--max-num-seqs", "4", "--port", "0", "--served-model-name", "mine"]
    arguments += ["--served-model-name", "other", "--keep-alive-seconds", "30"]
    arguments += ["--speculate", "ngram", "--disk-cache", "0"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    ((specs, rest),) = calls
    assert [(spec.artifact, spec.name) for spec in specs] == [("m", "mine"), ("m2", "other")]
    chosen = {"dtype": "bf16", "kv_dtype": "fp16", "threads": 3, "device": "cpu", "max_num_seqs": 4}
    config = EngineConfig(context_length=2048, speculate="ngram", **chosen)  # type: ignore[arg-type]
    assert {spec.config for spec in specs} == {config}
    assert rest["settings"] == ServerSettings(keep_alive_seconds=30)


def test_what_is_said_at_the_start_is_json_in_a_json_log() -> None:
    code = "import sys; from llmrt.server.logs import LogFormat, log_to_stderr; "
    code += "from llmrt.cli.serve import Teller;"
    code += "form = LogFormat(sys.argv[1]); log_to_stderr(form); tell = Teller(form); tell.report('100% ready');"
    code += "tell.note('using a model'); tell.warn('all can read')"
    said = {
        form: subprocess.run([sys.executable, "-c", code, form], capture_output=True, text=True, check=True)
        for form in ("text", "json")
    }
    assert said["text"].stdout == "100% ready\n" and said["json"].stdout == ""
    assert said["text"].stderr == "using a model\nwarning: all can read\n"
    lines = [json.loads(line) for line in said["json"].stderr.splitlines()]
    assert [(line["level"], line["message"]) for line in lines] == [
        ("info", "100% ready"),
        ("info", "using a model"),
        ("warning", "all can read"),
    ]


@pytest.mark.parametrize("option", [("--served-model-name", "one"), ("--revision", "abc"), ("--draft-model", "c")])
def test_options_for_another_number_of_models_are_refused(option: tuple[str, str]) -> None:
    result = CliRunner().invoke(app, ["serve", "a", "b", "--port", "0", *option])
    assert isinstance(result.exception, ConfigError) and option[0] in str(result.exception)


def test_the_http_process_is_free_of_torch() -> None:
    code = (
        "import sys, llmrt.server.app, llmrt.server.runner, llmrt.cli.serve, llmrt.engine.worker,"
        " llmrt.text.hf_tokenizer, llmrt.hub.sources;"
        "print(sorted({'torch', 'transformers'} & {name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
