"""A decoder's packed weights in a file, and a decoder from such a file without quantizing anything."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from llmrt.errors import CheckpointError
from llmrt.model.checkpoints.headers import PackedHeaders
from llmrt.model.checkpoints.packed_header import (
    FORMAT,
    METADATA_KEY,
    Origin,
    PackedHeader,
    PieceShape,
)
from llmrt.model.config import ModelConfig
from llmrt.model.loading.packed_pieces import BLOCK, install
from llmrt.model.loading.read_tensors import BESIDE_PACKED
from llmrt.model.modules.block_weight import BlockWeight
from llmrt.model.modules.decoder import Decoder
from llmrt.model.modules.packed_linear import PackedModule
from llmrt.ops.types import OpSpec
from llmrt.quant.packed_weight import PackedWeight, packed_weight
from llmrt.quant.scheme import QuantScheme

ALIGNMENT = 64  # the kernels load whole cache lines
_DTYPES = {torch.uint8: "U8", torch.int8: "I8", torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32"}
_WRITE_BYTES = 1 << 26
PARTS = ("data", "scales", "offsets")  # of a packed matrix


class PackedCheckpoint(PackedHeaders):
    """A model whose weights were packed before."""

    def decoder(self, context_length: int, spec: OpSpec) -> Decoder:
        """The decoder, its weights mapped from the file, or copied to a GPU. Raises ``CheckpointError``."""
        return map_decoder(self.file, self.header, self.config, context_length, spec)


def describe_decoder(decoder: Decoder, origin: Origin) -> PackedHeader:
    """The header of the file that ``save_decoder`` would write of a quantized decoder."""
    modules = {name: [_piece_shape(piece) for piece in pieces] for name, pieces in _packed(decoder)}
    return PackedHeader(
        format=FORMAT,
        quant=origin.recipe.name,
        recipe=origin.recipe,
        calibration=origin.calibration,
        source=origin.source,
        source_path=str(origin.source_path),
        modules=modules,
    )


def save_decoder(path: Path, decoder: Decoder, header: PackedHeader) -> None:
    """Write the weights to ``path``, whole or not at all. Raises ``OSError``.

    Nothing is copied in memory: the tensors are written one after the other from where they are.
    """
    tensors = dict(_padded(_tensors(decoder)))
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_safetensors_header(tensors, header))
            for tensor in tensors.values():
                data = tensor.contiguous().flatten().view(torch.uint8).cpu().numpy().data
                for start in range(0, len(data), _WRITE_BYTES):
                    file.write(data[start : start + _WRITE_BYTES])
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def packed_bytes(decoder: Decoder) -> int:
    """Bytes that ``save_decoder`` writes beside the header."""
    return sum(tensor.numel() * tensor.element_size() for _, tensor in _padded(_tensors(decoder)))


def map_decoder(path: Path, header: PackedHeader, config: ModelConfig, context_length: int, spec: OpSpec) -> Decoder:
    """A decoder whose weights are the pages of the file, or copies of them on a GPU.

    Raises ``CheckpointError`` if they do not fit ``config``.
    """
    decoder = Decoder(config, context_length, spec)
    stored = _map(path)
    try:
        for name, shapes in header.modules.items():
            _check_shape(path, decoder, name, shapes)
            pieces = [_piece(path, stored, f"{name}.{i}", shape) for i, shape in enumerate(shapes)]
            install(decoder, name, pieces, _bias(path, stored, decoder, name))
        dense = {name: tensor for name, tensor in stored.items() if not name.startswith("padding.")}
        on_device = {name: _beside(path, name, tensor).to(spec.device) for name, tensor in dense.items()}
        decoder.load_state_dict(on_device, assign=True, strict=True)
    except (KeyError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path} does not fit the model's configuration: {reason}.") from error
    return decoder


def _packed(decoder: Decoder) -> Iterator[tuple[str, list[PackedWeight]]]:
    """The pieces of each packed matrix; a head that is the embedding table is left out."""
    for name, module in decoder.named_modules():
        if isinstance(module, PackedModule) and not (name == "lm_head" and decoder.config.tied_embeddings):
            yield name, _quantized(module.pieces)


def _quantized(pieces: Sequence[PackedWeight | BlockWeight]) -> list[PackedWeight]:
    """Weights that were not quantized are never written."""
    quantized = [piece for piece in pieces if isinstance(piece, PackedWeight)]
    assert len(quantized) == len(pieces)
    return quantized


def _tensors(decoder: Decoder) -> Iterator[tuple[str, Tensor]]:
    for name, pieces in _packed(decoder):
        for i, piece in enumerate(pieces):
            yield from ((f"{name}.{i}.{part}", t) for part, t in zip(PARTS, piece.tensors, strict=False))
    for name, module in decoder.named_modules():
        if isinstance(module, PackedModule) and module.bias is not None:
            yield f"{name}.bias", module.bias
    yield from decoder.state_dict().items()


def _padded(tensors: Iterator[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """After each tensor that does not end on a border, one that does: safetensors allow no gaps."""
    for name, tensor in tensors:
        yield name, tensor
        if rest := -(tensor.numel() * tensor.element_size()) % ALIGNMENT:
            yield f"padding.{name}", torch.zeros(rest, dtype=torch.uint8)


def _safetensors_header(tensors: dict[str, Tensor], header: PackedHeader) -> bytes:
    import msgspec

    entries: dict[str, Any] = {"__metadata__": {METADATA_KEY: msgspec.json.encode(header).decode()}}
    start = 0
    for name, tensor in tensors.items():
        end = start + tensor.numel() * tensor.element_size()
        entries[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(entries).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _map(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is truncated or not a safetensors file: {error}.") from None


def _piece_shape(piece: PackedWeight) -> PieceShape:
    return PieceShape(*piece.shape, piece.scheme.bits, piece.scheme.group, piece.scheme.affine)


def _piece(path: Path, stored: dict[str, Tensor], name: str, shape: PieceShape) -> PackedWeight:
    tensors = [stored.pop(f"{name}.{part}") for part in PARTS[: 2 + shape.affine]]
    scheme = QuantScheme(shape.bits, shape.group, shape.affine)
    blocks, groups = math.ceil(shape.rows / BLOCK), math.ceil(shape.columns / shape.group)
    data = torch.uint8, (blocks, scheme.words_of(groups * shape.group), ALIGNMENT)
    numbers = torch.float16, (blocks, groups, BLOCK)
    if [(tensor.dtype, tuple(tensor.shape)) for tensor in tensors] != [data, *[numbers] * (1 + shape.affine)]:
        raise CheckpointError(f"{path}: {name} is not of the shape that the header gives it.")
    return packed_weight(tensors, scheme, (shape.rows, shape.columns))


def _bias(path: Path, stored: dict[str, Tensor], decoder: Decoder, module: str) -> Tensor | None:
    """That of the packed ``module``, if the model has one there."""
    wanted, name = getattr(decoder.get_submodule(module), "bias", None), f"{module}.bias"
    if wanted is None:
        return None
    bias = _beside(path, name, stored.pop(name))
    if bias.shape != wanted.shape:
        raise CheckpointError(f"{path}: {name} has shape {list(bias.shape)}; it must have {list(wanted.shape)}.")
    return bias


def _beside(path: Path, name: str, tensor: Tensor) -> Tensor:
    """``tensor``, which is not packed. Kernels read its bytes as what such tensors are written as."""
    if tensor.dtype != BESIDE_PACKED:
        raise CheckpointError(f"{path}: {name} is of type {tensor.dtype}; what is not packed must be {BESIDE_PACKED}.")
    return tensor


def _check_shape(path: Path, decoder: Decoder, name: str, shapes: list[PieceShape]) -> None:
    """Those of experts stand one above the other. Rows may be padded to blocks where matrices are interleaved."""
    groups = {shape.group for shape in shapes}
    sound = all(shape.bits in (4, 8) and shape.rows > 0 for shape in shapes)
    if not sound or len(groups) != 1 or decoder.spec.group not in (0, *groups):
        raise CheckpointError(f"{path}: {name} is not in pieces of 4 or 8 bits and one group.")
    weight = decoder.get_buffer(f"{name}.weight")
    wanted, matrices = tuple(weight.flatten(0, -2).shape), math.prod(weight.shape[:-2])
    held = (sum(shape.rows for shape in shapes), shapes[0].columns)
    if held[1] != wanted[1] or not wanted[0] <= held[0] < wanted[0] + 2 * BLOCK * matrices:
        raise CheckpointError(f"{path}: {name} has shape {list(held)}; the configuration asks for {list(wanted)}.")
