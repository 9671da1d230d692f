"""Packing weights as ``llmrt_layouts.h`` lays them out, element by element: slow, and plain to check."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from llmrt_kernels.packed import Codes, Matrix, Rows, Weight

Array = npt.NDArray[np.int64]


@cache
def random_matrix(
    rows: int, columns: int, bits: int, group: int, seed: int = 0, *, affine: bool = False
) -> tuple[Matrix, Tensor]:
    """Random codes, scales, and offsets if ``affine`` for a matrix [rows, columns], and what it stands for in float64.

    Padding to whole groups has weights of zero, or the group's offset.
    """
    generator = torch.Generator().manual_seed(seed)
    blocks, groups = -(-rows // 16), -(-columns // group)
    zero = 1 << (bits - 1)
    codes = torch.randint(0, 1 << bits, (blocks * 16, groups * group), generator=generator)
    scales = (torch.rand(blocks * 16, groups, generator=generator) * 0.1 + 0.01).half()
    codes[:, columns:] = zero
    offsets = (torch.randn(blocks * 16, groups, generator=generator) * zero / 20).half() if affine else None
    dense = (codes - zero).double() * scales.double().repeat_interleave(group, 1)
    if offsets is not None:
        dense += offsets.double().repeat_interleave(group, 1)
    by_block = [None if t is None else t.unflatten(0, (-1, 16)).transpose(1, 2).contiguous() for t in (scales, offsets)]
    return Matrix(_lines(codes, bits), by_block[0], bits, rows, by_block[1]), dense[:rows, :columns]


@cache
def nested_matrix(rows: int, columns: int, bits: int, seed: int = 0) -> tuple[Matrix, Tensor]:
    """The same with integers by which scales, and offsets of 4 bits, of 256 columns are multiplied."""
    generator = torch.Generator().manual_seed(seed)
    height, part, zero = -(-rows // 16) * 16, 32 if bits == 4 else 16, 0 if bits == 4 else 32
    codes = torch.randint(0, 1 << bits, (height, columns), generator=generator)
    s = torch.randint(*((0, 64) if bits == 4 else (-128, 128)), (height, columns // part), generator=generator)
    z = torch.randint(0, 64, s.shape, generator=generator) if bits == 4 else None
    scales, offsets = (torch.randn(2, height, columns // 256, generator=generator) / 256).half()
    dense = (codes - zero) * s.double().repeat_interleave(part, 1) * scales.double().repeat_interleave(256, 1)
    if z is not None:
        dense += z.double().repeat_interleave(part, 1) * offsets.double().repeat_interleave(256, 1)
    data = _strips(codes.numpy(), s.numpy(), None if z is None else z.numpy())
    of_blocks = [t.unflatten(0, (-1, 16)).transpose(1, 2).contiguous() for t in (scales, offsets)]
    matrix = Matrix(data, of_blocks[0], bits, rows, None if z is None else of_blocks[1], nested=True)
    return matrix, dense[:rows]


def _strips(codes: Array, s: Array, z: Array | None) -> Tensor:
    """Codes of 4 bits and both integers of each 32 columns, or of 6 and one, without ``z``, of each 16."""
    (height, columns), lines = codes.shape, 13 if z is None else 9
    data = np.zeros((height // 16, columns // 64, lines, 64), np.uint8)
    for r, k in np.ndindex(codes.shape):
        strip, byte = data[r // 16, k // 64], 4 * (r % 16) + k % 4
        strip[k % 64 // 8, byte] |= (codes[r, k] & 15) << 4 * (k % 8 // 4)
        if z is None:
            strip[8 + k % 64 // 16, byte] |= codes[r, k] >> 4 << 2 * (k % 16 // 4)
    for r, p in np.ndindex(s.shape):
        if z is None:
            data[r // 16, p // 4, -1, p % 4 * 16 + r % 16] = s[r, p] & 255
        else:
            data[r // 16, p // 2, -1, p % 2 * 32 + r % 16] = s[r, p]
            data[r // 16, p // 2, -1, p % 2 * 32 + 16 + r % 16] = z[r, p]
    return torch.from_numpy(data).flatten(1, 2)


def random_weight(
    rows: tuple[int, ...],
    columns: int,
    bits: tuple[int, ...],
    group: int,
    *,
    bias: bool = False,
    affine: bool = False,
    seed: int = 0,
) -> tuple[Weight, Tensor]:
    """Matrices of ``rows`` and ``bits`` each, one above the other, and what they stand for in float64.

    If ``affine``, the first has offsets, and then every second.
    """
    pieces = [
        random_matrix(n, columns, b, group, seed + i, affine=affine and i % 2 == 0)
        for i, (n, b) in enumerate(zip(rows, bits, strict=True))
    ]
    generator = torch.Generator().manual_seed(seed)
    bias_values = torch.randn(sum(rows), generator=generator) if bias else None
    return Weight(tuple(m for m, _ in pieces), group, bias_values), torch.cat([dense for _, dense in pieces])


def float_matrix(rows: int, columns: int, dtype: torch.dtype, seed: int = 0) -> tuple[Matrix, Tensor]:
    """Random numbers of ``dtype`` for a matrix [rows, columns], in blocks, and the same in float64."""
    generator = torch.Generator().manual_seed(seed)
    dense = torch.randn(rows, columns, generator=generator).to(dtype)
    pair = 2 if dtype == torch.bfloat16 else 1
    data = torch.zeros(-(-rows // 16), columns // pair, 16, pair, dtype=dtype)
    for r in range(rows):
        for c in range(pair):
            data[r // 16, :, r % 16, c] = dense[r, c::pair]
    return Matrix(data, None, 8 * dtype.itemsize, rows), dense.double()


def float_weight(
    rows: tuple[int, ...], columns: int, dtypes: tuple[torch.dtype, ...], *, bias: bool = False, seed: int = 0
) -> tuple[Weight, Tensor]:
    """Matrices of ``rows`` and ``dtypes`` each, one above the other, and the same in float64."""
    pieces = [float_matrix(n, columns, d, seed + i) for i, (n, d) in enumerate(zip(rows, dtypes, strict=True))]
    bias_values = torch.randn(sum(rows), generator=torch.Generator().manual_seed(seed)) if bias else None
    return Weight(tuple(m for m, _ in pieces), 16, bias_values), torch.cat([dense for _, dense in pieces])


def meant(x: Codes | Rows, columns: int) -> Tensor:
    """What activations stand for, [T, columns] float64."""
    return x.values[:, :columns].double() if isinstance(x, Rows) else _meant_by_codes(x, columns)


def _meant_by_codes(codes: Codes, columns: int) -> Tensor:
    values = codes.codes[:, : codes.columns].double().unflatten(1, (-1, codes.group))
    by_group = codes.codes[:, : codes.columns].unflatten(1, (-1, codes.group)).int()
    halves = by_group[..., :16].sum(-1), by_group[..., 16:].sum(-1)
    assert torch.equal(codes.sums, by_group.sum(-1))
    assert codes.q6_k is None or torch.equal(codes.q6_k, -32 * torch.stack(halves, dim=2))
    return (values * codes.scales.double().unsqueeze(2)).flatten(1)[:, :columns]


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
