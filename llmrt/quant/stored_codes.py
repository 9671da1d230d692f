"""A matrix that somebody else quantized, its codes as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from llmrt.quant.pack import pack
from llmrt.quant.packed_weight import PackedWeight, stack
from llmrt.quant.scheme import QuantScheme
from llmrt.quant.words import codes_in, words_of


@dataclass(frozen=True)
class StoredCodes:
    """Stands for w = scale * (code - 2^(bits - 1)) + offset.

    ``words`` have the codes of rows [N, K], or [E, N, K] of experts, as ``words.py`` draws them; ``scales``, and
    ``offsets`` if the scheme is affine, fp16 of a value for each group of columns, the last of which may be shorter.
    Those of a form, whose formula is another, have a row's share of each line of its strips.
    """

    words: Tensor
    scales: Tensor
    offsets: Tensor | None
    scheme: QuantScheme

    @property
    def columns(self) -> int:
        """K, in whole words."""
        return self.scheme.columns_of(self.words.shape[-1])

    def with_rows(self, change: Callable[[Tensor], Tensor]) -> StoredCodes:
        """What ``change`` makes of the rows of each tensor."""
        offsets = None if self.offsets is None else change(self.offsets)
        return StoredCodes(change(self.words), change(self.scales), offsets, self.scheme)

    def widened(self, scheme: QuantScheme) -> StoredCodes:
        """The same numbers in a scheme of more bits, smaller groups or with offsets."""
        if scheme == self.scheme:
            return self
        assert holds(scheme, self.scheme)
        words = self.words
        if scheme.bits > self.scheme.bits:
            codes = codes_in(words, self.scheme.bits) + ((1 << (scheme.bits - 1)) - (1 << (self.scheme.bits - 1)))
            words = words_of(codes, scheme.bits)
        scales, offsets = self._by_group(self.scales, scheme), self.offsets
        if offsets is not None:
            offsets = self._by_group(offsets, scheme)
        elif scheme.affine:
            offsets = torch.zeros_like(scales)
        return StoredCodes(words, scales, offsets, scheme)

    def pack(self) -> PackedWeight:
        """Each matrix in whole blocks, those of experts one above the other."""
        if self.words.dim() == 2:
            return pack(self.words, self.scales, self.offsets, self.scheme)
        none = [None] * len(self.words)
        matrices = zip(self.words, self.scales, none if self.offsets is None else self.offsets, strict=True)
        return stack([pack(*tensors, self.scheme) for tensors in matrices])

    def _by_group(self, values: Tensor, scheme: QuantScheme) -> Tensor:
        groups = -(-self.columns // scheme.group)
        return values.repeat_interleave(self.scheme.group // scheme.group, dim=-1)[..., :groups]


def holds(wide: QuantScheme, scheme: QuantScheme) -> bool:
    """Whether ``wide`` has a code for each number of ``scheme``."""
    if wide.form or scheme.form:
        return wide == scheme
    return wide.bits >= scheme.bits and scheme.group % wide.group == 0 and wide.affine >= scheme.affine
