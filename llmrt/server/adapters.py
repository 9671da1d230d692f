"""The LoRA adapters of a server: names that requests may use as their ``model``."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llmrt.errors import ConfigError, RequestError
from llmrt.server.served_model import ModelSpec

_NAME = re.compile(r"[\w.:/@+-]{1,128}", re.ASCII)


@dataclass(frozen=True)
class ServedAdapter:
    """The LoRA adapter in the folder ``path``, for the model ``base``."""

    name: str
    path: str
    base: ModelSpec
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def identity(self) -> str:
        """What tells it from another adapter, also from one of the same name or from other files in the same place."""
        try:
            changed = (Path(self.path) / "adapter_model.safetensors").stat().st_mtime_ns
        except OSError:
            changed = 0  # deleted since it was loaded
        return f"{self.name} {self.path} {changed}"


class ServedAdapters:
    """Those that requests may name, in order of arrival. Raises ``ConfigError`` for a name that is taken."""

    def __init__(self, specs: Sequence[ModelSpec]) -> None:
        self._specs = specs
        self._by_name: dict[str, ServedAdapter] = {}
        for spec in specs:
            for name, path in spec.config.adapters:
                if reason := self._refusal(name):
                    raise ConfigError(f"--lora: {reason}")
                self.add(ServedAdapter(name, path, spec))

    def all(self) -> list[ServedAdapter]:
        """Those of all models."""
        return [*self._by_name.values()]

    def of(self, base: ModelSpec) -> tuple[tuple[str, str], ...]:
        """Name and folder of those of one model, for its engine."""
        return tuple((adapter.name, adapter.path) for adapter in self.all() if adapter.base is base)

    def find(self, name: str | None) -> ServedAdapter | None:
        """The adapter of that name, if it is one."""
        return None if name is None else self._by_name.get(name.removesuffix(":latest"))

    def check_new(self, name: str) -> None:
        """Raise ``RequestError`` for a name that cannot be taken."""
        if reason := self._refusal(name):
            raise RequestError(reason, param="lora_name")

    def add(self, adapter: ServedAdapter) -> None:
        """Its engine has it."""
        self._by_name[adapter.name] = adapter

    def take(self, name: str) -> ServedAdapter:
        """Offer it no longer. Raises ``RequestError`` if it is not there."""
        if name not in self._by_name:
            raise RequestError(f"There is no adapter {name!r}.", param="lora_name", code="model_not_found")
        return self._by_name.pop(name)

    def _refusal(self, name: str) -> str | None:
        if not _NAME.fullmatch(name):
            return (
                f"the name {name!r} is not 1 to 128 of the letters, digits and _.:/@+- that an adapter's name may have."
            )
        if name in self._by_name or any(name in spec.names for spec in self._specs):
            return f"the name {name!r} is taken; choose another for this adapter."
        return None


def parse_adapter(text: str) -> tuple[str, str]:
    """NAME=PATH as a name and an absolute path. Raises ``ConfigError``."""
    name, separator, path = text.partition("=")
    if not separator or not name or not path:
        raise ConfigError(f"--lora {text!r} is not NAME=PATH, such as sql=adapters/sql.")
    return name, str(Path(path).expanduser().resolve())
