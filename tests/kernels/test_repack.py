"""Rows of GGUF files, packed natively: the numbers are the gguf library's, whichever rows are taken."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
import torch
from gguf import GGML_QUANT_SIZES
from gguf import GGMLQuantizationType as Kind
from torch import Tensor

from llmrt_kernels.cpu.repack import FILE_TYPES, repack
from llmrt_kernels.layout import FORMS
from llmrt_kernels.packed import Matrix
from llmrt_kernels.reference.linear_packed import dequantize

pytestmark = pytest.mark.usefixtures("isa")

COLUMNS = 768
KINDS = [Kind(each) for each in FILE_TYPES]
ROUNDED_OFFSETS = (Kind.Q4_1,)
# Where a block has its scale, and its offset if it has one; 0 of those not here.
SCALE_AT = {Kind.Q2_K: 80, Kind.Q3_K: 108, Kind.Q6_K: 208}


def is_affine(kind: Kind) -> bool:
    name = kind.name.lower()
    return FORMS[name].affine if name in FORMS else kind in ROUNDED_OFFSETS


def random_rows(kind: Kind, count: int = 40) -> Tensor:
    """Blocks of random bits, so that every code and every integer occurs, with scales that are numbers."""
    values, size = GGML_QUANT_SIZES[kind]
    generator = np.random.default_rng(int(kind))
    blocks = generator.integers(0, 256, (count, COLUMNS // values, size), dtype=np.uint8)
    numbers = generator.normal(0, 0.01, (count, COLUMNS // values, 1 + is_affine(kind))).astype(np.float16)
    at = SCALE_AT.get(kind, 0)
    blocks[:, :, at : at + 2 * numbers.shape[2]] = numbers.view(np.uint8)
    return torch.from_numpy(blocks.reshape(count, -1))


def packed(rows: Tensor, order: Tensor, kind: Kind) -> Matrix:
    """Rows in the ``order`` of three blocks of 16."""
    name = kind.name.lower()
    form, bits = FORMS.get(name), 4 if kind in (Kind.Q4_0, Kind.Q4_1) else 8
    lines = COLUMNS * bits // 32 if form is None else COLUMNS // form.strip * form.lines
    addresses = rows.data_ptr() + order.view(3, 16) * rows.shape[1]
    groups = COLUMNS // (32 if form is None else form.outer)
    data, scales, offsets = repack(addresses, COLUMNS, kind, lines=lines, groups=groups, affine=is_affine(kind))
    return Matrix(data, scales, bits if form is None else form.bits, len(order), offsets, form and name)


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_the_librarys(kind: Kind) -> None:
    rows = random_rows(kind)
    order = torch.randint(0, len(rows), (48,), generator=torch.Generator().manual_seed(0))
    library = torch.from_numpy(gguf.quants.dequantize(rows.numpy(), kind))[order]
    ours = dequantize(packed(rows, order, kind), 32)
    if kind in ROUNDED_OFFSETS:
        torch.testing.assert_close(ours, library, rtol=0, atol=float(library.abs().max()) * 2**-10)
    else:
        torch.testing.assert_close(ours, library, rtol=2**-22, atol=0)
