"""What a published folder says of itself: config.json, and the headers of its safetensors. Free of torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from llmrt.errors import CheckpointError
from llmrt.hub.layout import layout_of
from llmrt.model.checkpoints.config_files import read_fields
from llmrt.model.checkpoints.fused import stored_shapes, with_parts
from llmrt.model.families.family import TensorNames
from llmrt.model.fields import Fields
from llmrt.model.quantized.matrix import Quantization, QuantizedMatrix, find_matrices, shown_whole
from llmrt.model.quantized.quantization_headers import read_quantization
from llmrt.model.stored_tensor import StoredTensor


class SafetensorsHeaders:
    """The model in ``folder``: in one file, or in shards with an index."""

    def __init__(self, folder: Path) -> None:
        fields, family = read_fields(folder)
        self.path = folder
        self.config = family.read_config(fields)
        self.quantization = read_quantization(folder, fields)
        stored: dict[str, StoredTensor] = {}
        for file, expected in _shards(folder).items():
            held = _read_header(file)
            _check_index(folder / layout_of(folder).index, file, expected, held)
            stored.update(held)
        self.names = _spelled(family.names, stored)
        self.matrices = {} if self.quantization is None else self._find_matrices(stored, self.quantization)
        self.inventory = with_parts(shown_whole(stored, self.matrices), self.config, self.names)

    def _find_matrices(self, stored: dict[str, StoredTensor], quantization: Quantization) -> dict[str, QuantizedMatrix]:
        if self.names.transposed:
            raise CheckpointError(
                f"{self.path}: a quantized {self.config.family} is not supported; use the model's full-precision copy."
            )
        return find_matrices(stored, stored_shapes(self.config, self.names), quantization, self.config.dtype)


def _spelled(names: TensorNames, stored: dict[str, StoredTensor]) -> TensorNames:
    """``names``, or the same without their prefix where a model was saved without its head."""
    bare = names.without_prefix
    return bare if f"{bare.embedding}.weight" in stored else names


def _shards(folder: Path) -> dict[Path, set[str]]:
    """Each file of weights, with the tensors that an index expects in it (empty without an index)."""
    layout = layout_of(folder)
    if (folder / layout.index).exists():
        return _read_index(folder / layout.index)
    files = sorted(folder.glob("*.safetensors"))
    if (folder / layout.whole) in files:
        files = [folder / layout.whole]
    if not files:
        raise CheckpointError(_no_weights(folder))
    if len(files) > 1:
        raise CheckpointError(
            f"{folder} has {len(files)} safetensors files but no {layout.index}, which says how they combine."
        )
    return {files[0]: set()}


def _no_weights(folder: Path) -> str:
    if any(folder.glob("pytorch_model*.bin")):
        return (
            f"{folder} has its weights in pytorch_model.bin only. That is a pickle, and loading a pickle can run any"
            " code it contains; use a copy of the model in safetensors."
        )
    return f"{folder} has no .safetensors file."


def _read_index(path: Path) -> dict[Path, set[str]]:
    fields = Fields.from_file(path)
    weight_map = fields.inside("weight_map")
    if weight_map is None:
        raise CheckpointError(f"{path}: the field weight_map is missing.")
    shards: dict[Path, set[str]] = {}
    for name in weight_map:
        shard = weight_map.require(name, str)
        if Path(shard).name != shard:
            raise CheckpointError(f"{path}: {name} is said to be in {shard!r}, which is not a file name.")
        shards.setdefault(path.parent / shard, set()).add(name)
    return shards


def _check_index(index: Path, file: Path, expected: set[str], stored: dict[str, StoredTensor]) -> None:
    absent = sorted(expected - stored.keys())
    if absent:
        raise CheckpointError(f"{file.name} lacks the tensor {absent[0]}, which {index} says it holds.")


def _read_header(file: Path) -> dict[str, StoredTensor]:
    """What there is, in the order of the data, types as the file names them."""
    with open_shard(file, "np") as shard:
        slices = {name: shard.get_slice(name) for name in shard.offset_keys()}
        return {name: StoredTensor(tuple(held.get_shape()), file, held.get_dtype()) for name, held in slices.items()}


def open_shard(file: Path, framework: str) -> Any:
    """The file, which is whole, for tensors of ``framework``. Raises ``CheckpointError``."""
    try:
        return safe_open(file, framework=framework)
    except FileNotFoundError:
        raise CheckpointError(f"{file} is missing, but {layout_of(file.parent).index} names it.") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{file} is truncated or not a safetensors file: {error}.") from None
