"""What a .gguf file says of itself: its metadata is the configuration. Free of torch."""

from __future__ import annotations

from pathlib import Path

from gguf import GGMLQuantizationType, GGUFReader, ReaderTensor

from llmrt.errors import CheckpointError
from llmrt.model.checkpoints.fused import with_parts
from llmrt.model.checkpoints.gguf.schemes import scheme_of
from llmrt.model.families.gguf_fields import ROPE_TENSORS, read_gguf_file
from llmrt.model.families.gguf_names import ARCHITECTURES
from llmrt.model.stored_tensor import StoredTensor
from llmrt.text.gguf_metadata import read_value
from llmrt.text.gguf_parts import check_parts, open_parts

# Of tensors that need no unpacking.
DTYPES = {GGMLQuantizationType.F16: "fp16", GGMLQuantizationType.BF16: "bf16"}


class GgufHeaders:
    """The model in ``path``, or in as many files as the name of ``path``, the first, says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        parts = open_parts(path)
        check_parts(parts)
        _check_byte_order(parts)
        self.tensors = {tensor.name: tensor for reader in parts.values() for tensor in reader.tensors}
        self.files = {tensor.name: part for part, reader in parts.items() for tensor in reader.tensors}
        weights = {name: tensor for name, tensor in self.tensors.items() if name not in ROPE_TENSORS}
        inventory = {name: _stored(tensor, self.files[name]) for name, tensor in weights.items()}
        self.config = read_gguf_file(path)
        self.names = ARCHITECTURES[read_value(parts[path], "general.architecture", str) or ""].names
        self.inventory = with_parts(inventory, self.config, self.names)


def _check_byte_order(parts: dict[Path, GGUFReader]) -> None:
    for path, reader in parts.items():
        if reader.byte_order != "I":
            raise CheckpointError(f"{path} is in the byte order of other processors; fetch the model for this one.")


def _stored(tensor: ReaderTensor, file: Path) -> StoredTensor:
    kind = GGMLQuantizationType(tensor.tensor_type)
    return StoredTensor(shape_of(tensor), file, DTYPES.get(kind, "fp32"), scheme=scheme_of(kind), kind=kind.name)


def shape_of(tensor: ReaderTensor) -> tuple[int, ...]:
    """GGUF counts dimensions from the innermost; torch from the outermost."""
    return tuple(int(size) for size in reversed(tensor.shape.tolist()))
