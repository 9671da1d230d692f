"""Codes out of words of 32 bits, and the matrices that they and their scales stand for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class GroupedCodes:
    """w[n, k] = scales[n, g] * (codes[n, k] - zeros[n, g]), g = group_of[k], or k // G where that is None.

    ``codes`` and ``zeros`` uint8 [N, K] and [N, K / G]; ``scales`` [N, K / G]; ``group_of`` [K].
    """

    codes: Tensor
    zeros: Tensor
    scales: Tensor
    group_of: Tensor | None = None

    def numbers(self) -> Tensor:
        """The matrix in fp32, which holds whole numbers of 9 bits times 16-bit scales exactly."""
        zeros, scales = self.zeros.float(), self.scales.float()
        if self.group_of is None:
            groups = scales.shape[1]
            grouped = self.codes.float().unflatten(1, (groups, -1))
            return grouped.sub_(zeros.unsqueeze(2)).mul_(scales.unsqueeze(2)).flatten(1)
        return self.codes.float().sub_(zeros[:, self.group_of]).mul_(scales[:, self.group_of])


def unpack(words: Tensor, bits: int, count: int) -> Tensor:
    """int32 [R, W], streams of codes from the lowest bits of the first word on -> uint8 [R, count]."""
    run = 3 if bits == 3 else 1  # bytes after which a code begins with a byte again
    runs = words.contiguous().view(torch.uint8).unflatten(1, (-1, run))
    joined = sum(runs[..., i].to(torch.int32 if run > 1 else torch.uint8) << 8 * i for i in range(run))
    assert isinstance(joined, Tensor)
    codes = torch.stack([(joined >> shift) & (2**bits - 1) for shift in range(0, 8 * run, bits)], dim=-1)
    return codes.to(torch.uint8).flatten(1)[:, :count]
