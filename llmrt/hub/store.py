"""The local store: one small JSON manifest a pulled model, below LLMRT_HOME."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import msgspec
import platformdirs

from llmrt.errors import ConfigError, ModelNotFoundError
from llmrt.hub.disk import disk_errors

HOME_HINT = "set LLMRT_HOME to a folder with room that you may write to"

_PART = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_PART}(/{_PART}(:(({_PART}/)*{_PART}\.gguf|[A-Za-z0-9_-]+))?)?")


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file of a pulled model; ``name`` is relative to the model's folder."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A pulled model.

    ``origin`` is the hub repository or the wheel's package, ``revision`` what was asked for and ``commit``
    what it stood for (of a wheel, both are the version). ``path`` is what the engine loads and ``folder``
    holds ``files``.
    """

    name: str
    source: Literal["hub", "wheel"]
    origin: str
    revision: str
    commit: str
    path: str
    folder: str
    files: tuple[StoredFile, ...]
    pulled_at: str

    @property
    def num_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def detail(self) -> str:
        """One phrase about where the files come from."""
        if self.source == "wheel":
            return f"wheel {self.origin} {self.commit}"
        return f"{self.origin} at {self.commit[:12]}"

    def is_at(self, revision: str | None) -> bool:
        """Whether it is what ``revision`` asks for; None asks for what is there."""
        return revision in (None, self.revision, self.commit)

    def missing_file(self) -> str | None:
        """The first file that is gone or has another size than when it was pulled, or None."""
        for file in self.files:
            path = Path(self.folder, file.name)
            if not path.is_file() or path.stat().st_size != file.size:
                return str(path)
        return None


def home() -> Path:
    """LLMRT_HOME, else the user's data folder."""
    chosen = os.environ.get("LLMRT_HOME")
    return Path(chosen).expanduser().absolute() if chosen else platformdirs.user_data_path("llmrt")


def model_key(model: Path) -> str:
    """The name of a folder below ``home`` that is for the model at ``model``."""
    return hashlib.sha256(str(model.absolute()).encode()).hexdigest()[:16]


def is_model_name(name: str) -> bool:
    """Whether ``name`` is an alias, ``org/name``, ``org/name:file.gguf`` or ``:Q4_K_M``, free of path traversal."""
    repository = name.partition(":")[0]
    return _NAME.fullmatch(name) is not None and ".." not in name and "--" not in repository


def now() -> str:
    """The time of a pull, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def save(manifest: Manifest) -> None:
    """Write a manifest, whole or not at all. Raises DownloadError when the store cannot be written."""
    path = _manifest_path(manifest.name)
    with disk_errors(path.parent, hint=HOME_HINT):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(manifest)))
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)


def load(name: str) -> Manifest | None:
    """The manifest of a pulled model, or None. Raises ConfigError naming a manifest that cannot be read."""
    path = _manifest_path(name)
    return _read(path) if path.is_file() else None


def load_all() -> list[Manifest]:
    """Every manifest, by name. Raises ConfigError naming a manifest that cannot be read."""
    return sorted((_read(path) for path in _folder().glob("*.json")), key=lambda manifest: manifest.name)


def forget(name: str) -> None:
    """Remove a manifest; the model's files stay."""
    _manifest_path(name).unlink(missing_ok=True)


def _folder() -> Path:
    return home() / "manifests"


def _manifest_path(name: str) -> Path:
    if not is_model_name(name):
        raise ModelNotFoundError(f"{name!r} is not a model name: use an alias, org/name or org/name:FILE")
    return _folder() / f"{quote(name, safe='')}.json"


def _read(path: Path) -> Manifest:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: {error}; delete this file and pull the model again") from error
