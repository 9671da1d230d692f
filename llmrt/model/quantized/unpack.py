"""Codes out of words of 32 bits, and the matrices that they and their scales stand for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from llmrt.quant.scheme import QuantScheme
from llmrt.quant.stored_codes import StoredCodes
from llmrt.quant.words import codes_in, shuffled, words_of


@dataclass(frozen=True)
class GroupedCodes:
    """w[n, k] = scales[n, g] * (codes[n, k] - zeros[n, g]), g = k // group, or group_of[k] if that is there.

    A code has ``bits``, and ``words`` those of rows [N, K] as ``quant/words.py`` draws them, in at least 4 bits each;
    ``zeros`` uint8 [N, K / group], ``scales`` [N, K / group], ``group_of`` [K].
    """

    bits: int
    group: int
    columns: int
    words: Tensor
    zeros: Tensor
    scales: Tensor
    group_of: Tensor | None = None

    def numbers(self) -> Tensor:
        """The matrix in fp32, which holds whole numbers of 9 bits times 16-bit scales exactly."""
        return self._codes().float().sub_(self._by_column(self.zeros)).mul_(self._by_column(self.scales))

    def kept(self, scheme: QuantScheme) -> StoredCodes | None:
        """The same numbers in a scheme of ``kept_scheme``, None if they do not fit.

        Exactly, but for scales and offsets of more bits than fp16 has.
        """
        middle, half = 1 << (self.bits - 1), 1 << (scheme.bits - 1)
        if scheme.affine:
            scales = self.scales.float()
            offsets = self._by_group(scales * (middle - self.zeros.float()), scheme)
            return StoredCodes(self.words, self._by_group(scales, scheme), offsets, scheme)
        words = self.words
        if middle != half or (self.zeros != middle).any():
            signed = self._codes().short().sub_(self._by_column(self.zeros)).add_(half)
            if signed.min() < 0 or signed.max() >= 2 * half:
                return None
            words = words_of(signed.to(torch.uint8), scheme.bits)
        return StoredCodes(words, self._by_group(self.scales, scheme), None, scheme)

    def _codes(self) -> Tensor:
        return codes_in(self.words, max(self.bits, 4))[:, : self.columns]

    def _by_column(self, values: Tensor) -> Tensor:
        if self.group_of is not None:
            return values[:, self.group_of]
        return values.repeat_interleave(self.group, 1)[:, : self.columns]

    def _by_group(self, values: Tensor, scheme: QuantScheme) -> Tensor:
        """For groups of ``scheme``, which divide these, in fp16."""
        groups = -(-self.columns // scheme.group)
        return values.half().repeat_interleave(-(-self.group // scheme.group), 1)[:, :groups]


def words_in(stream: Tensor, bits: int, columns: int) -> Tensor:
    """The words of ``GroupedCodes`` from int32 [N, W], codes in turn from the lowest bits of the first word on."""
    if bits == 8:
        return stream
    return shuffled(stream) if bits == 4 else words_of(unpack(stream, bits, columns), 4)


def unpack(words: Tensor, bits: int, count: int) -> Tensor:
    """int32 [R, W], streams of codes from the lowest bits of the first word on -> uint8 [R, count]."""
    run = 3 if bits == 3 else 1  # bytes after which a code begins with a byte again
    runs = words.contiguous().view(torch.uint8).unflatten(1, (-1, run))
    joined = runs[..., 0] if run == 1 else (runs.int() << torch.arange(0, 8 * run, 8)).sum(-1, dtype=torch.int32)
    codes = torch.empty(*joined.shape, 8 * run // bits, dtype=torch.uint8)
    for i in range(codes.shape[-1]):
        codes[..., i] = (joined >> bits * i).bitwise_and_((1 << bits) - 1)
    return codes.flatten(1)[:, :count]


def looked_up(table: Tensor, indices: Tensor) -> Tensor:
    """What a subscript gives for uint8 [N], in less time."""
    return table.index_select(0, indices.int())
