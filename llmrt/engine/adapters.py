"""The LoRA adapters that an engine has, by name. Free of torch.

An adapter that is unloaded takes no new requests; its matrices leave when the last request that uses it has ended, so
that nobody's answer changes in the middle.
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Protocol

from llmrt.engine.request import Adapter
from llmrt.errors import RequestError


class Installer(Protocol):
    """What puts matrices into the model."""

    def install(self, number: int, folder: Path) -> bytes:
        """Put in the adapter in ``folder`` as ``number``; returns its digest. Raises ``LlmrtError``."""
        ...

    def remove(self, number: int) -> None:
        """Take out the adapter of that number."""
        ...


class Adapters:
    """Names are unique among those that take requests, numbers among all that have matrices."""

    def __init__(self, installer: Installer) -> None:
        self._installer = installer
        self._by_name: dict[str, Adapter] = {}
        self._leaving: list[Adapter] = []

    @property
    def are_leaving(self) -> bool:
        """Whether some wait for the end of requests."""
        return bool(self._leaving)

    def load(self, name: str, folder: Path) -> None:
        """Raises ``LlmrtError`` for a name that is taken, or a folder that cannot be used."""
        if name in self._by_name:
            raise RequestError(f"The adapter {name!r} is loaded already; unload it first.", param="lora_name")
        taken = {adapter.number for adapter in (*self._by_name.values(), *self._leaving)}
        number = min(set(range(len(taken) + 1)) - taken)
        self._by_name[name] = Adapter(name, number, self._installer.install(number, folder))

    def unload(self, name: str) -> None:
        """Take no more requests for it. Raises ``RequestError`` for one that is not there."""
        self._leaving.append(self.find(name))
        del self._by_name[name]

    def refuse(self, name: str) -> None:
        """Take out at once what was only just loaded: no request has it."""
        self._installer.remove(self._by_name.pop(name).number)

    def find(self, name: str) -> Adapter:
        """Raises ``RequestError`` for one that is not there."""
        if name not in self._by_name:
            raise RequestError(f"The adapter {name!r} is not loaded.", param="model", code="model_not_found")
        return self._by_name[name]

    def let_go(self, in_use: Container[Adapter]) -> None:
        """Remove the matrices of those that were unloaded and are not ``in_use``."""
        for adapter in [adapter for adapter in self._leaving if adapter not in in_use]:
            self._leaving.remove(adapter)
            self._installer.remove(adapter.number)
