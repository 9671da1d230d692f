"""Adapters' matrices on their way into a decoder and out of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from llmrt.errors import MemoryFitError
from llmrt.model.adapters.install import install_adapter
from llmrt.model.adapters.peft_adapter import PeftAdapter
from llmrt.model.modules.decoder import Decoder
from llmrt.model.modules.lora import remove_adapter


class AdapterWeights:
    """See ``Installer``. ``changed`` is called after every change, for recorded steps still read the old matrices.

    ``available`` tells how many bytes are left where the decoder is.
    """

    def __init__(self, decoder: Decoder, changed: Callable[[], None], available: Callable[[], int]) -> None:
        self._decoder = decoder
        self._changed = changed
        self._available = available

    def install(self, number: int, folder: Path) -> bytes:
        """See ``Installer``."""
        adapter = PeftAdapter(folder)
        digest = adapter.digest()  # before it is installed, for it may fail
        _check_fit(adapter, self._available())
        install_adapter(self._decoder, number, adapter)
        self._changed()
        return digest

    def remove(self, number: int) -> None:
        """See ``Installer``."""
        remove_adapter(self._decoder, number)
        self._changed()


def _check_fit(adapter: PeftAdapter, available: int) -> None:
    needed = 2 * adapter.num_bytes  # fp32 of what may be bf16
    if needed > available:
        raise MemoryFitError(
            f"{adapter.file} needs up to {needed / 1e9:.1f} GB of memory, {available / 1e9:.1f} GB are available."
        )
