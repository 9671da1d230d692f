"""The settings of ``serve`` from a TOML file, and all of them as such a file.

The options of the command are the one list of settings: each is a key of the file, with underscores, and an environment
variable, ``LLMRT_`` and the name. The command line wins over the environment, the environment over the file. A table
``[models.NAME]`` of the file has settings of that model alone, which win over all of these.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from llmrt.cli.bad_values import reason
from llmrt.cli.served_options import ServedOptions
from llmrt.errors import ConfigError

CONTEXT_SETTINGS = {"auto_envvar_prefix": "LLMRT"}
_NO_SETTINGS = ("config", "print_config", "help")
_MODELS = "models"
_ABOUT_TABLES = f"""\
# A table [models.mistral-7b], or [models."llama-3.1-8b"] of a name with dots, sets for that model alone:
# {", ".join(field.name for field in fields(ServedOptions))}.
"""


def load_config(ctx: typer.Context, file: Path | None) -> Path | None:
    """Make the values of ``file`` the command's defaults. Raises ``ConfigError`` for a file that cannot be used."""
    if file is not None:
        values, settings = _read(file), {setting.name: setting for setting in _settings(ctx)}
        tables = values.pop(_MODELS, {})
        ctx.default_map = _checked(values, settings, f"--config {file}")
        ctx.meta[_MODELS] = _of_models(ctx, tables, settings, f"--config {file}")
    return file


def model_settings(ctx: typer.Context) -> dict[str, dict[str, Any]]:
    """What the file says of single models: the name of each, and its settings."""
    return ctx.meta.get(_MODELS, {})


def config_text(ctx: typer.Context) -> str:
    """Every setting as TOML with its help, and where its value is from unless that is the default."""
    paragraphs = ["\n".join(_paragraph(ctx, setting)) for setting in _settings(ctx)]
    tables = [_table(name, settings) for name, settings in model_settings(ctx).items()]
    return "\n".join([*paragraphs, _ABOUT_TABLES, *tables])


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"--config {file} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {file} is not TOML: {error}.") from error


def _checked(values: dict[str, Any], settings: dict[str, Any], where: str, kind: str = "setting") -> dict[str, Any]:
    for name in values:
        if name not in settings:
            near = get_close_matches(name, settings, n=1)
            hint = f"; did you mean {near[0]}?" if near else "; `llmrt serve --print-config` shows the settings."
            raise ConfigError(f"{where} sets {name}, which is no {kind}{hint}")
    return {name: [value] if _is_several(settings[name], value) else value for name, value in values.items()}


def _of_models(ctx: typer.Context, tables: Any, settings: dict[str, Any], where: str) -> dict[str, dict[str, Any]]:
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise ConfigError(f"{where}: models is for tables such as [models.mistral-7b]; the list of models is model.")
    of_models = {field.name: settings[field.name] for field in fields(ServedOptions)}
    return {name: _of_model(ctx, table, of_models, f"{where}, [models.{name}],") for name, table in tables.items()}


def _of_model(ctx: typer.Context, table: dict[str, Any], settings: dict[str, Any], where: str) -> dict[str, Any]:
    if inner := next((name for name, value in table.items() if isinstance(value, dict)), None):
        raise ConfigError(f'{where} has a table {inner} in it; a name with dots is quoted: [models."a.b"].')
    chosen: dict[str, Any] = {}
    for name, value in _checked(table, settings, where, "setting of one model").items():
        try:
            chosen[name] = settings[name].process_value(ctx, value)
        except typer.BadParameter as error:
            raise ConfigError(f"{where} has a {name} that cannot be: {reason(error)}") from error
    return chosen


def _is_several(setting: Any, value: object) -> bool:
    """Whether ``value`` is one where there may be several."""
    return (setting.nargs == -1 or setting.multiple) and not isinstance(value, list)


def _settings(ctx: typer.Context) -> list[Any]:
    return [param for param in ctx.command.params if param.name not in _NO_SETTINGS]


def _paragraph(ctx: typer.Context, setting: Any) -> Iterator[str]:
    name, value = setting.name, ctx.params[setting.name]
    yield f"# {setting.help}"
    if value in (None, [], ()):
        yield f"# {name} ="
    elif getattr(setting, "hide_input", False):
        yield f"# {name} is set and not shown{_origin(ctx, setting)}"
    else:
        yield f"{name} = {_toml(value)}{_origin(ctx, setting)}"
    yield ""


def _table(name: str, settings: dict[str, Any]) -> str:
    return "\n".join([f"[models.{_toml(name)}]", *(f"{key} = {_toml(value)}" for key, value in settings.items()), ""])


def _toml(value: Any) -> str:
    if isinstance(value, Enum | Path):
        value = value.value if isinstance(value, Enum) else str(value)
    return json.dumps(value, ensure_ascii=False)  # whose strings, numbers, truth values and lists are TOML too


def _origin(ctx: typer.Context, setting: Any) -> str:
    source = ctx.get_parameter_source(setting.name)
    names = {"COMMANDLINE": "the command line", "ENVIRONMENT": "the environment", "DEFAULT_MAP": ctx.params["config"]}
    return f"  # from {names[source.name]}" if source is not None and source.name in names else ""
