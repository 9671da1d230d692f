"""A matrix that somebody else quantized, its codes as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from llmrt.quant.pack import pack
from llmrt.quant.packed_weight import PackedWeight, stack
from llmrt.quant.scheme import QuantScheme


@dataclass(frozen=True)
class StoredCodes:
    """Stands for w = scale * (code - 2^(bits - 1)) + offset.

    ``codes`` uint8 [N, K], or [E, N, K] of experts; ``scales``, and ``offsets`` if the scheme is affine, fp16 of a
    value for each group of columns, the last of which may be shorter.
    """

    codes: Tensor
    scales: Tensor
    offsets: Tensor | None
    scheme: QuantScheme

    def with_rows(self, change: Callable[[Tensor], Tensor]) -> StoredCodes:
        """What ``change`` makes of the rows of each tensor."""
        offsets = None if self.offsets is None else change(self.offsets)
        return StoredCodes(change(self.codes), change(self.scales), offsets, self.scheme)

    def widened(self, scheme: QuantScheme) -> StoredCodes:
        """The same numbers in a scheme of more bits, smaller groups or with offsets."""
        assert holds(scheme, self.scheme)
        codes = self.codes + ((1 << (scheme.bits - 1)) - (1 << (self.scheme.bits - 1)))
        scales, offsets = self._by_group(self.scales, scheme), self.offsets
        if offsets is not None:
            offsets = self._by_group(offsets, scheme)
        elif scheme.affine:
            offsets = torch.zeros_like(scales)
        return StoredCodes(codes, scales, offsets, scheme)

    def pack(self) -> PackedWeight:
        """Each matrix in whole blocks, those of experts one above the other."""
        if self.codes.dim() == 2:
            return pack(self.codes, self.scales, self.offsets, self.scheme)
        none = [None] * len(self.codes)
        matrices = zip(self.codes, self.scales, none if self.offsets is None else self.offsets, strict=True)
        return stack([pack(*tensors, self.scheme) for tensors in matrices])

    def _by_group(self, values: Tensor, scheme: QuantScheme) -> Tensor:
        groups = -(-self.codes.shape[-1] // scheme.group)
        return values.repeat_interleave(self.scheme.group // scheme.group, dim=-1)[..., :groups]


def holds(wide: QuantScheme, scheme: QuantScheme) -> bool:
    """Whether ``wide`` has a code for each number of ``scheme``."""
    return wide.bits >= scheme.bits and scheme.group % wide.group == 0 and wide.affine >= scheme.affine
