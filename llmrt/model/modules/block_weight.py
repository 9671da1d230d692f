"""A weight as it was stored, in blocks of 16 rows as the native kernels read it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmrt.model.modules.linear import GatedLinear
from llmrt.model.modules.moe import GatedExperts
from llmrt_kernels.packed import BLOCK, Matrix, in_blocks

Index = tuple[slice | int, ...]


@dataclass(frozen=True)
class BlockWeight:
    """Stands for a matrix of ``shape`` (N rows, K columns); ``data`` as in ``Matrix``, rows padded to whole blocks."""

    data: Tensor
    shape: tuple[int, int]

    @property
    def group(self) -> int:
        """Rows of a gate and of what it gates that stand in turn."""
        return BLOCK

    @property
    def num_bytes(self) -> int:
        """Bytes that one product with it reads."""
        return self.data.nbytes

    @property
    def matrix(self) -> Matrix:
        """The weight as a kernel takes it."""
        return Matrix(self.data, None, 8 * self.data.element_size(), self.shape[0])

    def to(self, device: str) -> BlockWeight:
        """The same there; itself if it is there."""
        return replace(self, data=self.data.to(device))


class Blocks:
    """Room for the weight of the layer ``dense``, [N, K] or [E, N, K], that is filled piece by piece.

    Of a gated layer, a block of the gate's rows and one of those that it gates take turns.
    """

    def __init__(self, dense: nn.Module, dtype: torch.dtype) -> None:
        *stack, rows, columns = dense.get_buffer("weight").shape
        self._shape = math.prod(stack) * rows, columns
        gated = isinstance(dense, GatedLinear | GatedExperts)
        self._halves = 2 if gated else 1
        self._rows_of_half = rows // self._halves
        one = in_blocks(torch.empty(BLOCK, columns, dtype=dtype, device="meta"))[0]
        self._data = torch.empty(*stack, -(-self._rows_of_half // BLOCK), self._halves, *one.shape, dtype=dtype)

    def put(self, index: Index, tensor: Tensor) -> None:
        """Convert ``tensor`` and place it where ``weight[index]`` is, whose last part names rows."""
        data, tensor = self._data, tensor.to(self._data.dtype)
        if missing := -tensor.shape[-2] % BLOCK:
            tensor = F.pad(tensor, (0, 0, 0, missing))
        if data.dtype == torch.bfloat16:  # pairs as words, which torch copies three times as fast
            aligned = tensor.clone() if tensor.storage_offset() % 2 else tensor
            data, tensor = data.view(torch.int32), aligned.view(torch.int32)
        *stack, rows = index
        assert isinstance(rows, slice)
        half, first = divmod(rows.start or 0, self._rows_of_half)
        blocks = in_blocks(tensor)
        at = slice(first // BLOCK, first // BLOCK + blocks.shape[-4])
        data[(*stack, ..., at, half, slice(None), slice(None), slice(None))].copy_(blocks)

    @property
    def weight(self) -> BlockWeight:
        """All of it, the matrices of experts one above the other."""
        return BlockWeight(self._data.flatten(0, -4), self._shape)
