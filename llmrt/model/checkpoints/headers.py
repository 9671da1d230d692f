"""A model as its headers describe it: a configuration and an inventory, no weights. Free of torch."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from llmrt.errors import CheckpointError
from llmrt.model.checkpoints.config_files import read_config
from llmrt.model.checkpoints.packed_header import FORMAT, PackedHeader, packed_file, read_header
from llmrt.model.checkpoints.tensor_slots import tensor_slots
from llmrt.model.config import ModelConfig
from llmrt.model.families.family import TensorNames
from llmrt.model.stored_tensor import StoredTensor


class Headers(Protocol):
    """What is known of a model whose weights are as they were published.

    ``path`` is where it lies, None for one that is made up. ``inventory`` has its tensors in the order of the file.
    """

    config: ModelConfig
    names: TensorNames
    inventory: dict[str, StoredTensor]

    @property
    def path(self) -> Path | None:
        """The folder or .gguf file."""
        ...


class PackedHeaders:
    """The same of a model whose weights were packed before. Raises ``CheckpointError``."""

    def __init__(self, model: Path, file: Path) -> None:
        self.path = model
        self.config: ModelConfig = read_config(model)
        self.header: PackedHeader = read_header(file)
        if self.header.format != FORMAT:
            raise CheckpointError(
                f"{file} has format {self.header.format}; this version of llmrt reads {FORMAT}."
                " Make it again with: llmrt quantize"
            )
        self.file = file

    @property
    def num_bytes(self) -> int:
        """Bytes of the weights, in the file as in memory."""
        return self.file.stat().st_size


class AssumedHeaders:
    """Those of a model of this ``config`` that is not on disk, as if all of its tensors were stored in ``dtype``."""

    def __init__(self, config: ModelConfig, dtype: str) -> None:
        self.path = None
        self.config = config
        self.names = TensorNames()
        slots = tensor_slots(config, self.names)
        self.inventory = {name: StoredTensor(slot.shape, Path("nowhere"), dtype) for name, slot in slots.items()}


def open_headers(path: Path) -> Headers | PackedHeaders:
    """What the headers of the model at ``path`` say. Raises ``CheckpointError``."""
    if (packed := packed_file(path)) is not None:
        return PackedHeaders(path, packed)
    if path.is_dir():
        from llmrt.model.checkpoints.safetensors.headers import SafetensorsHeaders

        return SafetensorsHeaders(path)
    if path.suffix == ".gguf":
        from llmrt.model.checkpoints.gguf.headers import GgufHeaders

        return GgufHeaders(path)
    raise CheckpointError(f"{path} is neither a folder with config.json and safetensors nor a .gguf file.")
