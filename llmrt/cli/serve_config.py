"""The settings of ``serve`` from a TOML file, and all of them as such a file.

The options of the command are the one list of settings: each is a key of the file, with underscores, and an environment
variable, ``LLMRT_`` and the name. The command line wins over the environment, the environment over the file.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from llmrt.errors import ConfigError

CONTEXT_SETTINGS = {"auto_envvar_prefix": "LLMRT"}
_NO_SETTINGS = ("config", "print_config", "help")


def load_config(ctx: typer.Context, file: Path | None) -> Path | None:
    """Make the values of ``file`` the command's defaults. Raises ``ConfigError`` for a file that cannot be used."""
    if file is not None:
        ctx.default_map = _checked(_read(file), {setting.name: setting for setting in _settings(ctx)}, file)
    return file


def config_text(ctx: typer.Context) -> str:
    """Every setting as TOML with its help, and where its value is from unless that is the default."""
    return "\n".join("\n".join(_paragraph(ctx, setting)) for setting in _settings(ctx))


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"--config {file} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {file} is not TOML: {error}.") from error


def _checked(values: dict[str, Any], settings: dict[str, Any], file: Path) -> dict[str, Any]:
    for name in values:
        if name not in settings:
            near = get_close_matches(name, settings, n=1)
            hint = f"; did you mean {near[0]}?" if near else "; `llmrt serve --print-config` shows the settings."
            raise ConfigError(f"--config {file} sets {name}, which is no setting{hint}")
    return {name: [value] if _is_several(settings[name], value) else value for name, value in values.items()}


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


def _toml(value: Any) -> str:
    if isinstance(value, Enum | Path):
        value = value.value if isinstance(value, Enum) else str(value)
    return json.dumps(value, ensure_ascii=False)  # whose strings, numbers, truth values and lists are TOML too


def _origin(ctx: typer.Context, setting: Any) -> str:
    source = ctx.get_parameter_source(setting.name)
    names = {"COMMANDLINE": "the command line", "ENVIRONMENT": "the environment", "DEFAULT_MAP": ctx.params["config"]}
    return f"  # from {names[source.name]}" if source is not None and source.name in names else ""
