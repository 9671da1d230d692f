"""A folder as it is published: config.json, and safetensors in one file or in shards with an index."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from llmrt.errors import CheckpointError
from llmrt.model.checkpoints.parts import part_of
from llmrt.model.checkpoints.safetensors.headers import SafetensorsHeaders, open_shard
from llmrt.model.quantized.matrix import QuantizedMatrix
from llmrt.model.quantized.numbers import codes_of, numbers_of
from llmrt.quant.stored_codes import StoredCodes

FLOATS = (torch.float32, torch.bfloat16, torch.float16)


class SafetensorsCheckpoint(SafetensorsHeaders):
    """The model in a folder.

    Each file is mapped anew for each tensor, so that pages which have been read do not pile up.
    """

    def load(self, name: str) -> Tensor:
        """One tensor, of fp32, bf16 or fp16, a quantized one as its numbers. Raises ``CheckpointError``."""
        stored = self.inventory[name]
        file, part = stored.file, stored.part
        return self._whole(name, file) if part is None else part_of(self._whole(part.tensor, file), part)

    def load_codes(self, name: str, *, flat: bool) -> StoredCodes | None:
        """Those of a quantized matrix that the kernels have codes for, all flat. Raises ``CheckpointError``."""
        del flat
        part = self.inventory[name].part
        matrix = self.matrices.get(name if part is None else part.tensor)
        codes = None if matrix is None else codes_of(matrix, self._tensors_of(matrix))
        if codes is None or part is None:
            return codes
        return codes.with_rows(lambda rows: part_of(rows, part))

    def load_rows(self, name: str) -> None:
        """Its tools keep columns and rows in other orders."""

    def _whole(self, name: str, file: Path) -> Tensor:
        if (matrix := self.matrices.get(name)) is not None:
            return numbers_of(matrix, self._tensors_of(matrix))
        tensor = _read(file, name)
        if tensor.dtype not in FLOATS:
            raise CheckpointError(f"{file}: tensor {name} is of type {tensor.dtype}; supported are fp32, bf16, fp16.")
        return tensor

    def _tensors_of(self, matrix: QuantizedMatrix) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for file in {held.file for held in matrix.members.values()}:  # opening one takes longer than reading a vector
            with open_shard(file, "pt") as shard:
                names = [name for name, held in matrix.members.items() if held.file == file]
                found |= {name: shard.get_tensor(f"{matrix.module}.{name}") for name in names}
        return found


def _read(file: Path, name: str) -> Tensor:
    with open_shard(file, "pt") as shard:
        return shard.get_tensor(name)
