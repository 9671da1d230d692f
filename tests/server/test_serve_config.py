"""One list of settings: flags, environment variables and a TOML file say the same, and ``--print-config`` shows it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from llmrt.cli.main import app, load_command
from llmrt.errors import ConfigError
from llmrt.server import runner
from llmrt.server.served_model import ModelSpec
from tests.cli.tiny_model import make_tiny_llama

EXAMPLE = Path(__file__).parents[2] / "configs" / "serve.example.toml"
SETTINGS = [param for param in load_command("serve").params if param.name not in ("config", "print_config")]


def serve(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, ["serve", *arguments], env=environment)


def printed(*arguments: str, **environment: str) -> dict[str, object]:
    result = serve("--print-config", *arguments, **environment)
    assert result.exit_code == 0, result.output
    return tomllib.loads(result.output)


def test_the_example_file_is_every_setting_with_its_default() -> None:
    assert EXAMPLE.read_text("utf-8") == serve("--print-config").output
    assert serve("--print-config", "--config", str(EXAMPLE)).output.count(f"  # from {EXAMPLE}") > 5


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text(
        'model = "of the file"\nport = 1\nhost = "1.1.1.1"\nctx = "2k"\nquant = "int8"\ngpu_memory = "12GB"\n'
    )
    text = serve("--print-config", "--config", str(file), "--port", "3", LLMRT_PORT="2", LLMRT_HOST="2.2.2.2").output
    values = tomllib.loads(text)
    assert (values["port"], values["host"], values["model"]) == (3, "2.2.2.2", ["of the file"])
    assert (values["ctx"], values["quant"], values["gpu_memory"]) == (2048, "int8", 12.0)
    assert "port = 3  # from the command line" in text and f"ctx = 2048  # from {file}" in text
    assert 'host = "2.2.2.2"  # from the environment' in text
    assert printed(LLMRT_CONFIG=str(file)) == {**values, "port": 1, "host": "1.1.1.1"}


SAMPLES = {
    "calibrate": "text.txt",
    "quant": "int4",
    "dtype": "bf16",
    "kv_dtype": "int8",
    "log_format": "json",
    "log_level": "debug",
    "log_prompts": "true",
    "disk_cache": "3GB",
    "speculate": "ngram",
}


@pytest.mark.parametrize("name", [param.name for param in SETTINGS if not getattr(param, "hide_input", False)])
def test_every_setting_is_a_variable_and_survives_its_own_printing(name: str, tmp_path: Path) -> None:
    value = SAMPLES.get(name, "3")
    by_variable = printed(**{f"LLMRT_{name.upper()}": value})
    assert by_variable != printed()
    file = tmp_path / "again.toml"
    file.write_text(serve("--print-config", **{f"LLMRT_{name.upper()}": value}).output)
    assert printed("--config", str(file)) == by_variable


def test_keys_are_settings_but_are_not_printed(tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    for text in ('api_key = "secret"', 'api_key = ["secret", "other"]'):
        file.write_text(text)
        assert serve("--print-config", "--config", str(file)).output.count("# api_key is set and not shown") == 1
    output = (
        serve("--print-config", "--api-key", "secret").output + serve("--print-config", LLMRT_API_KEY="secret").output
    )
    assert output.count("# api_key is set and not shown") == 2 and "secret" not in output


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("prot = 1", r"sets prot, which is no setting; did you mean port\?"),
        ("zzzzzz = 1", "sets zzzzzz, which is no setting; .*--print-config"),
        ("[server]\nport = 1", "sets server, which is no setting"),
        ("port = ", "is not TOML"),
        (None, "cannot be read: No such file"),
        (
            '[models.a]\nqant = "int4"',
            r"\[models.a\], sets qant, which is no setting of one model; did you mean quant\?",
        ),
        ("[models.a]\nport = 1", r"\[models.a\], sets port, which is no setting of one model"),
        ('[models.a]\nquant = "q4"', r"\[models.a\], has a quant that cannot be: .*'int4'"),
        (
            '[models.qwen2.5-7b]\nquant = "int8"',
            r'\[models.qwen2\], has a table 5-7b in it; .* \[models."a.b"\]',
        ),
        ('models = ["a"]', r"tables such as \[models.mistral-7b\]"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(text: str | None, line: str, tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=line) as caught:
        raise serve("--config", str(file)).exception or AssertionError
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [("port", "x"), ("disk_cache", "much"), ("quant", "q4")])
def test_a_value_that_cannot_be_is_refused_by_the_name_of_where_it_stands(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.toml").write_text(f'{name} = "{value}"\n')
    flag, variable = f"--{name.replace('_', '-')}", f"LLMRT_{name.upper()}"
    results = {
        f"'{flag}'": serve(flag, value),
        variable: serve(**{variable: value}),
        f"{name} of --config a.toml": serve("--config", "a.toml"),
    }
    for place, result in results.items():
        assert result.exit_code == 2 and f"Invalid value for {place}: " in result.output
        assert "Value error" not in result.output


def test_a_model_has_settings_of_its_own_before_those_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (make_tiny_llama(tmp_path / name) for name in ("one", "other"))
    file = tmp_path / "serve.toml"
    file.write_text(
        f'quant = "int8"\n[models."{one}"]\nquant = "int4"\nctx = "64"\ncalibrate = "{file}"\n[models."{other}"]\n'
    )
    text = serve("--print-config", "--config", str(file)).output
    assert tomllib.loads(text)["models"] == {
        str(one): {"quant": "int4", "ctx": 64, "calibrate": str(file)},
        str(other): {},
    }
    specs = offered(monkeypatch, "--config", str(file), "--quant", "none", "--port", "0")
    assert [spec.id for spec in specs] == ["one", "other"]
    assert [(spec.config.quant, spec.config.context_length) for spec in specs] == [("int4", 64), ("none", None)]
    assert [bool(spec.config.calibration) for spec in specs] == [True, False]


def offered(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> list[ModelSpec]:
    """What `llmrt serve` would serve."""
    specs: list[ModelSpec] = []

    async def stand_in(offered: list[ModelSpec], *_: object, **__: object) -> None:
        specs.extend(offered)

    monkeypatch.setattr(runner, "serve", stand_in)
    result = serve(*arguments)
    assert result.exit_code == 0, result.output
    return specs


@pytest.mark.parametrize(
    ("models", "settings", "line"),
    [
        (["a", "b"], 'revision = "main"', r"--revision is for one model, and these are 2; .*\[models.'a'\]"),
        (["a"], '[models.b]\nquant = "int4"', "settings of models.b, which is not served; served: a"),
    ],
)
def test_settings_of_no_model_or_of_one_of_several_are_refused(
    models: list[str], settings: str, line: str, tmp_path: Path
) -> None:
    file = tmp_path / "serve.toml"
    file.write_text(f"model = {models}\n{settings}\n")
    with pytest.raises(ConfigError, match=line):
        raise serve("--config", str(file)).exception or AssertionError


def test_a_server_without_a_model_says_where_to_name_one() -> None:
    assert isinstance(error := serve().exception, ConfigError)
    assert "LLMRT_MODEL" in str(error)
