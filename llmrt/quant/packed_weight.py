"""A quantized weight as the kernels read it. The layout is drawn in ``llmrt_kernels/reference/linear_packed.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from llmrt.quant.scheme import QuantScheme
from llmrt_kernels.packed import BLOCK, Matrix


@dataclass(frozen=True)
class PackedWeight:
    """Stands for a matrix of ``shape`` (N rows, K columns), padded to blocks of 16 rows and whole groups.

    ``data`` uint8 [N/16, K/8 or K/4, 64]; ``scales`` fp16 [N/16, K/G, 16].
    """

    data: Tensor
    scales: Tensor
    scheme: QuantScheme
    shape: tuple[int, int]

    @property
    def group(self) -> int:
        """Columns that share a scale, and rows of a gate and of what it gates that stand in turn."""
        return self.scheme.group

    @property
    def num_bytes(self) -> int:
        """Bytes that one product with it reads."""
        return self.data.nbytes + self.scales.nbytes

    @property
    def matrix(self) -> Matrix:
        """The weight as a kernel takes it."""
        return Matrix(self.data, self.scales, self.scheme.bits, self.shape[0])

    def to(self, device: str) -> PackedWeight:
        """The same there; itself if it is there."""
        return replace(self, data=self.data.to(device), scales=self.scales.to(device))

    def split(self, count: int) -> list[PackedWeight]:
        """The ``count`` matrices that stand in it one above the other, each in whole blocks, without a copy."""
        pairs = zip(self.data.chunk(count), self.scales.chunk(count), strict=True)
        return [PackedWeight(data, scales, self.scheme, (len(data) * BLOCK, self.shape[1])) for data, scales in pairs]


def stack(weights: Sequence[PackedWeight]) -> PackedWeight:
    """Weights of one scheme one above the other, each in whole blocks."""
    if len(weights) == 1:
        return weights[0]
    data, scales = (torch.cat(tensors) for tensors in ([w.data for w in weights], [w.scales for w in weights]))
    return PackedWeight(data, scales, weights[0].scheme, (len(data) * BLOCK, weights[0].shape[1]))
