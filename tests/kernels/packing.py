"""Packing weights as ``llmrt_cpu.h`` lays them out, element by element: slow, and plain to check."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packed:
    """A packed weight, and the matrix that it stands for in float64."""

    data: Tensor
    scales: Tensor
    zeros: Tensor | None
    bits: int
    group: int
    dense: Tensor


@cache
def random_packed(rows: int, columns: int, bits: int, group: int, *, zeros: bool, seed: int = 0) -> Packed:
    """Random codes, scales and zeros for a weight [rows, columns], padded to whole groups with zero weights."""
    generator = torch.Generator().manual_seed(seed)
    blocks, groups = -(-rows // 16), -(-columns // group)
    padded = groups * group
    codes = torch.randint(0, 1 << bits, (blocks * 16, padded), generator=generator)
    scales = (torch.rand(blocks * 16, groups, generator=generator) * 0.1 + 0.01).half()
    zero = torch.full((blocks * 16, groups), 1 << (bits - 1))
    if zeros:
        zero = torch.randint(0, 16, (blocks * 16, groups), generator=generator)
    codes[:, columns:] = zero[:, -1:]
    dense = (codes - zero.repeat_interleave(group, 1)).double() * scales.double().repeat_interleave(group, 1)
    return Packed(
        data=_lines(codes, bits),
        scales=_by_block(scales),
        zeros=_by_block(zero.to(torch.uint8)) if zeros else None,
        bits=bits,
        group=group,
        dense=dense[:rows, :columns],
    )


def _by_block(values: Tensor) -> Tensor:
    return values.unflatten(0, (-1, 16)).transpose(1, 2).contiguous()


def _lines(codes: Tensor, bits: int) -> Tensor:
    rows, columns = codes.shape
    step = 8 if bits == 4 else 4
    data = torch.zeros(rows // 16, columns // step, 64, dtype=torch.uint8)
    for r in range(rows):
        for k in range(columns):
            byte = 4 * (r % 16) + k % 4
            shift = 4 * (k % 8 // 4) if bits == 4 else 0
            data[r // 16, k // step, byte] |= int(codes[r, k]) << shift
    return data
