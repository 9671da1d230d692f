"""A quantized weight as the kernels read it. The layout is drawn in ``llmrt_kernels/reference/linear_packed.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from llmrt.quant.scheme import QuantScheme
from llmrt_kernels.packed import BLOCK, Matrix


class InBlocks(Protocol):
    """Rows that are moved by blocks of 16, the first dimension of each of its ``tensors``."""

    @property
    def scheme(self) -> QuantScheme:
        """How they are kept once they are packed."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """N rows, K columns."""
        ...

    @property
    def group(self) -> int:
        """See ``PackedWeight``."""
        ...

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that the rows are kept in."""
        ...

    def of_blocks(self, tensors: Sequence[Tensor]) -> Self:
        """Other rows of the same columns, in whole blocks."""
        ...


Blocks = TypeVar("Blocks", bound=InBlocks)


@dataclass(frozen=True)
class PackedWeight:
    """Stands for a matrix of ``shape`` (N rows, K columns), padded to blocks of 16 rows and whole groups.

    ``data`` uint8 [N/16, lines, 64]; ``scales``, and ``offsets`` if the scheme is affine, fp16 [N/16, K/G, 16], or for
    as many columns as its form says.
    """

    data: Tensor
    scales: Tensor
    scheme: QuantScheme
    shape: tuple[int, int]
    offsets: Tensor | None = None

    @property
    def group(self) -> int:
        """Columns of activations that share a scale, and rows of a gate and of what it gates that stand in turn."""
        return self.scheme.group

    @property
    def num_bytes(self) -> int:
        """Bytes that one product with it reads."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Data, scales, and offsets if there are any."""
        return (self.data, self.scales) if self.offsets is None else (self.data, self.scales, self.offsets)

    @property
    def matrix(self) -> Matrix:
        """The weight as a kernel takes it."""
        return Matrix(self.data, self.scales, self.scheme.bits, self.shape[0], self.offsets, self.scheme.form)

    def to(self, device: str) -> PackedWeight:
        """The same there; itself if it is there."""
        return packed_weight([tensor.to(device) for tensor in self.tensors], self.scheme, self.shape)

    def of_blocks(self, tensors: Sequence[Tensor]) -> PackedWeight:
        """Other rows of the same scheme and columns, in whole blocks."""
        return packed_weight(tensors, self.scheme, (len(tensors[0]) * BLOCK, self.shape[1]))


def packed_weight(tensors: Sequence[Tensor], scheme: QuantScheme, shape: tuple[int, int]) -> PackedWeight:
    """The weight whose ``tensors`` those are."""
    data, scales, *offsets = tensors
    assert len(offsets) == scheme.affine
    return PackedWeight(data, scales, scheme, shape, *offsets)


def stack(weights: Sequence[Blocks]) -> Blocks:
    """Weights of one scheme one above the other, each in whole blocks."""
    if len(weights) == 1:
        return weights[0]
    return weights[0].of_blocks([torch.cat(parts) for parts in zip(*(w.tensors for w in weights), strict=True)])
