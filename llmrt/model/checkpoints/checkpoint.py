"""A model on disk, as the loader sees it: its headers, and a stream of tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from torch import Tensor

from llmrt.errors import CheckpointError
from llmrt.model.checkpoints.headers import Headers
from llmrt.quant.file_rows import FileRows
from llmrt.quant.stored_codes import StoredCodes


class Checkpoint(Headers, Protocol):
    """What its headers say, and its weights.

    ``load`` gives one tensor, in whatever float type it is stored as or unpacked to; a caller that drops each before it
    asks for the next holds one tensor at a time.
    """

    def load(self, name: str) -> Tensor:
        """The tensor ``name`` of the inventory."""
        ...

    def load_codes(self, name: str, *, flat: bool) -> StoredCodes | None:
        """The codes of a matrix in the scheme that the inventory has for it, or what stands for that if ``flat``.

        None of a matrix without a scheme, and where its numbers are to be rounded to that scheme.
        """
        ...

    def load_rows(self, name: str) -> FileRows | None:
        """The same codes where they lie, None where they have to be loaded to be packed."""
        ...


def open_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a directory of safetensors or in a .gguf file. Raises ``CheckpointError``."""
    if path.is_dir():
        from llmrt.model.checkpoints.safetensors.checkpoint import SafetensorsCheckpoint

        return SafetensorsCheckpoint(path)
    if path.suffix == ".gguf":
        from llmrt.model.checkpoints.gguf.checkpoint import GgufCheckpoint

        return GgufCheckpoint(path)
    raise CheckpointError(f"{path} is neither a folder with config.json and safetensors nor a .gguf file.")
