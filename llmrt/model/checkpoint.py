"""A model on disk, as the loader sees it: a configuration, an inventory, and a stream of tensors."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

from torch import Tensor

from llmrt.errors import CheckpointError
from llmrt.model.config import ModelConfig
from llmrt.model.families.family import TensorNames


class StoredTensor(NamedTuple):
    """What a file says it holds; ``dtype`` (fp32, bf16 or fp16) is what it is loaded as."""

    shape: tuple[int, ...]
    file: Path
    dtype: str = "fp32"


class Checkpoint(Protocol):
    """A model's configuration and weights.

    ``path`` is where it lies, None for one that is made up. ``inventory`` is read from headers alone. ``load`` gives
    one tensor, in whatever float type it is stored as or unpacked to; a caller that drops each before it asks for the
    next holds one tensor at a time.
    """

    config: ModelConfig
    names: TensorNames
    inventory: dict[str, StoredTensor]

    @property
    def path(self) -> Path | None:
        """The folder or .gguf file."""
        ...

    def load(self, name: str) -> Tensor:
        """The tensor ``name`` of the inventory."""
        ...


def open_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a directory of safetensors or in a .gguf file. Raises ``CheckpointError``."""
    if path.is_dir():
        from llmrt.model.safetensors_checkpoint import SafetensorsCheckpoint

        return SafetensorsCheckpoint(path)
    if path.suffix == ".gguf":
        from llmrt.model.gguf_checkpoint import GgufCheckpoint

        return GgufCheckpoint(path)
    raise CheckpointError(f"{path} is neither a folder with config.json and safetensors nor a .gguf file.")
