"""Packing weights as ``llmrt_layouts.h`` lays them out: where each element goes, by its row and its column."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from llmrt_kernels.layout import FORMS, Form
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
def nested_matrix(rows: int, columns: int, name: str, seed: int = 0) -> tuple[Matrix, Tensor]:
    """The same in a form of GGUF's: integers times scales, and offsets if it has such, of 256 columns."""
    generator = torch.Generator().manual_seed(seed)
    form, height = FORMS[name], -(-rows // 16) * 16
    codes = torch.randint(0, 1 << form.bits, (height, columns), generator=generator)
    ends = (-128, 128) if not form.affine else (0, 64) if form.part == 32 else (0, 16)
    s, z = torch.randint(*ends, (2, height, columns // form.part), generator=generator)
    if not form.has_integers:
        s = z = torch.ones_like(s)
    scales, offsets = (torch.randn(2, height, columns // form.outer, generator=generator) / 256).half()
    numbers = torch.tensor(form.table)[codes] if form.table else codes - form.zero
    dense = numbers * s.double().repeat_interleave(form.part, 1) * scales.double().repeat_interleave(form.outer, 1)
    if form.affine:
        dense += z.double().repeat_interleave(form.part, 1) * offsets.double().repeat_interleave(form.outer, 1)
    data = _strips(form, codes.numpy(), _integers(form, s, z).numpy())
    of_blocks = [t.unflatten(0, (-1, 16)).transpose(1, 2).contiguous() for t in (scales, offsets)]
    return Matrix(data, of_blocks[0], form.bits, rows, of_blocks[1] if form.affine else None, name), dense[:rows]


def _integers(form: Form, s: Tensor, z: Tensor) -> Tensor:
    """Four bytes a strip of each row."""
    if not form.affine:
        return s & 255
    return torch.stack((s, z), 2).flatten(1) if form.part == 32 else s + 16 * z


def _strips(form: Form, codes: Array, integers: Array) -> Tensor:
    height, columns = codes.shape
    data = np.zeros((height // 16, columns // form.strip, form.lines, 64), np.uint8)
    upper = form.low * (form.strip // 32)
    _put(data[:, :, :upper], codes & (1 << form.low) - 1, form.low, form.strip)
    if form.upper:
        _put(data[:, :, upper:], codes >> form.low, form.upper, form.strip)
    if form.has_integers:
        r, i = np.indices(integers.shape)
        data[r // 16, i // 4, -1, i % 4 * 16 + r % 16] = integers
    return torch.from_numpy(data).flatten(1, 2)


def _put(strips: npt.NDArray[np.uint8], codes: Array, bits: int, strip: int) -> None:
    """The code of each row r and column k, in strips of ``strip`` columns."""
    r, k = np.indices(codes.shape)
    line, within = np.divmod(k % strip, 32 // bits)
    codes = codes << bits * (within // 4)
    np.bitwise_or.at(strips, (r // 16, k // strip, line, 4 * (r % 16) + k % 4), codes.astype(np.uint8))


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
    step = 32 // bits
    data = np.zeros((rows // 16, columns // step, 1, 64), np.uint8)
    _put(data, codes.numpy(), bits, step)
    return torch.from_numpy(data).squeeze(2)
