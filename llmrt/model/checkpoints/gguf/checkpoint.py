"""A .gguf file: its metadata is the configuration, its tensors are unpacked as they are loaded."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, ReaderTensor
from gguf.quants import dequantize
from torch import Tensor

from llmrt.errors import CheckpointError
from llmrt.model.checkpoints.gguf.codes import codes_of, has_codes
from llmrt.model.checkpoints.gguf.headers import GgufHeaders, shape_of
from llmrt.model.checkpoints.gguf.schemes import SCHEMES
from llmrt.model.checkpoints.parts import part_of
from llmrt.quant.file_rows import FileRows, can_repack
from llmrt.quant.stored_codes import StoredCodes

Loaded = TypeVar("Loaded", StoredCodes, FileRows)

_PART_VALUES = 1 << 18


class GgufCheckpoint(GgufHeaders):
    """The model in a .gguf file."""

    def load(self, name: str) -> Tensor:
        """One tensor, unpacked to fp32 unless it is stored as fp16 or bf16."""
        part = self.inventory[name].part
        return self._whole(name) if part is None else part_of(self._whole(part.tensor), part)

    def load_codes(self, name: str, *, flat: bool) -> StoredCodes | None:
        """The codes of a matrix whose type the kernels have a form for."""
        return self._of_matrix(name, lambda tensor: self._codes(tensor, flat=flat))

    def load_rows(self, name: str) -> FileRows | None:
        """The rows of a matrix as they lie in the file, where they can be packed as they are."""
        return self._of_matrix(name, self._rows)

    def _of_matrix(self, name: str, load: Callable[[ReaderTensor], Loaded | None]) -> Loaded | None:
        """What ``load`` gives of a matrix, or of the part of it that ``name`` is."""
        part = self.inventory[name].part
        if part is None:
            return load(self.tensors[name])
        loaded = None if part.transposed else load(self.tensors[part.tensor])
        return None if loaded is None else loaded.with_rows(lambda rows: part_of(rows, part))

    def _codes(self, tensor: ReaderTensor, *, flat: bool) -> StoredCodes | None:
        kind = GGMLQuantizationType(tensor.tensor_type)
        if not has_codes(kind, flat=flat):
            return None
        rows = torch.from_numpy(self._read(tensor)).view(*shape_of(tensor)[:-1], -1)
        return codes_of(rows, kind, flat=flat)

    def _rows(self, tensor: ReaderTensor) -> FileRows | None:
        kind = GGMLQuantizationType(tensor.tensor_type)
        if not can_repack(kind):
            return None
        *rows, columns = shape_of(tensor)
        file, size = self.files[tensor.name], int(tensor.n_bytes)
        try:
            memory = np.memmap(file, np.uint8, "r", int(tensor.data_offset), (size,))
        except ValueError:  # past the end
            raise _shortened(file) from None
        addresses = torch.arange(0, size, size // math.prod(rows)).view(rows) + memory.ctypes.data
        return FileRows(addresses, columns, kind, SCHEMES[kind], memory)

    def _whole(self, name: str) -> Tensor:
        tensor = self.tensors[name]
        kind = GGMLQuantizationType(tensor.tensor_type)
        values = self._read(tensor)
        if kind in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
            return torch.from_numpy(values).view(shape_of(tensor))
        if kind == GGMLQuantizationType.BF16:  # which numpy has no name for
            return torch.from_numpy(values).view(torch.bfloat16).view(shape_of(tensor))
        try:
            return torch.from_numpy(_unpacked(values, kind)).view(shape_of(tensor))
        except NotImplementedError:
            raise CheckpointError(
                f"{self.files[name]}: tensor {name} is of type {kind.name}, which the gguf library cannot unpack."
            ) from None

    def _read(self, tensor: ReaderTensor) -> npt.NDArray[Any]:
        """The stored bytes, read and not mapped: a map's pages would stay in memory beside the weights made of them."""
        data, file = tensor.data, self.files[tensor.name]
        values = np.fromfile(file, data.dtype, data.size, offset=int(tensor.data_offset))
        if values.size != data.size:
            raise _shortened(file)
        return values.reshape(data.shape)


def _shortened(file: Path) -> CheckpointError:
    return CheckpointError(f"{file} became shorter while it was read; load the model again once the file is whole.")


def _unpacked(values: npt.NDArray[Any], kind: GGMLQuantizationType) -> npt.NDArray[np.float32]:
    """The numbers of packed blocks, a part at a time that stays in the caches: half the time of the whole at once."""
    block_values, block_bytes = GGML_QUANT_SIZES[kind]
    blocks = values.view(np.uint8).reshape(-1, block_bytes)
    numbers = np.empty((len(blocks), block_values), np.float32)
    part = max(1, _PART_VALUES // block_values)
    for start in range(0, len(blocks), part):
        packed = blocks[start : start + part].reshape(1, -1)
        numbers[start : start + part] = dequantize(packed, kind).reshape(-1, block_values)
    return numbers
