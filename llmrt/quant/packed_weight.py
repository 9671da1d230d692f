"""A quantized weight as the kernels read it. The layout is drawn in ``llmrt_kernels/reference/linear_packed.py``."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from llmrt.quant.scheme import QuantScheme
from llmrt_kernels.packed import Matrix


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
    def num_bytes(self) -> int:
        """Bytes that one product with it reads."""
        return self.data.nbytes + self.scales.nbytes

    @property
    def matrix(self) -> Matrix:
        """The weight as a kernel takes it."""
        return Matrix(self.data, self.scales, self.scheme.bits, self.shape[0])
