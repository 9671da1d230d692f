"""What a .gguf file says of itself: its metadata is the configuration. Free of torch."""

from __future__ import annotations

from pathlib import Path

from gguf import GGMLQuantizationType, ReaderTensor

from llmrt.model.families.gguf_fields import ROPE_TENSORS, read_gguf_file
from llmrt.model.families.gguf_names import ARCHITECTURES
from llmrt.model.fused import with_parts
from llmrt.model.gguf_schemes import scheme_of
from llmrt.model.stored_tensor import StoredTensor
from llmrt.text.gguf_metadata import open_gguf, read_value

# Of tensors that need no unpacking.
DTYPES = {GGMLQuantizationType.F16: "fp16", GGMLQuantizationType.BF16: "bf16"}


class GgufHeaders:
    """The model in ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        reader = open_gguf(path)
        self.tensors = {tensor.name: tensor for tensor in reader.tensors}
        inventory = {
            name: StoredTensor(
                shape_of(tensor),
                path,
                DTYPES.get(tensor.tensor_type, "fp32"),
                scheme=scheme_of(tensor.tensor_type),
            )
            for name, tensor in self.tensors.items()
            if name not in ROPE_TENSORS
        }
        self.config = read_gguf_file(path)
        self.names = ARCHITECTURES[read_value(reader, "general.architecture", str) or ""].names
        self.inventory = with_parts(inventory, self.config, self.names)


def shape_of(tensor: ReaderTensor) -> tuple[int, ...]:
    """GGUF counts dimensions from the innermost; torch from the outermost."""
    return tuple(int(size) for size in reversed(tensor.shape.tolist()))
