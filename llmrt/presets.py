"""Model aliases: one TOML file each in ``configs/models``.

A preset says where a model lives, under which licence, and its architecture in the words of config.json, from
which sizes are computed and ``bench --random-weights`` builds the shape without a download.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from llmrt.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class WheelSource:
    """``file`` is the path of a GGUF file inside the wheel of ``package`` ``version``."""

    package: str
    version: str
    file: str


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a publisher recommends to draw tokens; the fields mean what they mean in ``SamplingParams``."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None


UNSAID = Sampling()


@dataclass(frozen=True, kw_only=True)
class Preset:
    """An alias: a hub repository, the patterns of the files to fetch from it, and the architecture.

    ``licence`` is an SPDX identifier or a name; ``gated`` says that it must be accepted on ``page``.
    ``sampling`` is for model files that do not say.
    """

    alias: str
    repository: str
    revision: str
    licence: str
    files: tuple[str, ...]
    config: Mapping[str, Any]
    gated: bool = False
    wheel: WheelSource | None = None
    sampling: Sampling = UNSAID

    @property
    def page(self) -> str:
        """Where the model is described and, when gated, its licence accepted."""
        return f"https://huggingface.co/{self.repository}"


def load_presets() -> dict[str, Preset]:
    """All presets by alias, in alphabetical order. Raises ConfigError naming the file and field at fault."""
    return dict(_presets())


def find_preset(name: str) -> Preset | None:
    """The preset of this alias, or None."""
    return _presets().get(name)


@cache
def _presets() -> dict[str, Preset]:
    return {path.stem: load_preset(path) for path in sorted(_folder().glob("*.toml"), key=lambda p: p.stem)}


def _folder() -> Path:
    package = Path(__file__).parent
    installed = package / "configs" / "models"
    return installed if installed.is_dir() else package.parent / "configs" / "models"


def load_preset(path: Path) -> Preset:
    """Read one preset; its alias is the file's stem. Raises ConfigError naming the file and the field."""
    import msgspec  # not where engines are built without a text side: a GPU's benchmark has no msgspec

    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    _refuse_unknown(path, data, Preset)
    _refuse_unknown(path, data.get("wheel"), WheelSource)
    _refuse_unknown(path, data.get("sampling"), Sampling)
    try:
        return msgspec.convert({"alias": path.stem, **data}, Preset)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error


def _refuse_unknown(path: Path, table: object, schema: type) -> None:
    known = {field.name for field in fields(schema)} - {"alias"}
    unknown = sorted(set(table) - known) if isinstance(table, dict) else []
    if unknown:
        raise ConfigError(f"{path}: unknown field {unknown[0]!r}; known fields: {', '.join(sorted(known))}")
