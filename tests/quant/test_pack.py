"""Weights packed from given codes against the formula, whole and after they are cut and joined."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from llmrt.model.loading.packed_pieces import apart, interleave, join
from llmrt.quant.pack import pack
from llmrt.quant.packed_weight import PackedWeight, stack
from llmrt.quant.scheme import QuantScheme
from llmrt.quant.words import codes_in, shuffled, words_of
from llmrt_kernels.reference.linear_packed import dequantize

SCHEMES = [QuantScheme(4, 32), QuantScheme(4, 64, affine=True), QuantScheme(8, 64), QuantScheme(8, 32, affine=True)]


def draw(rows: int, columns: int, scheme: QuantScheme, seed: int = 0) -> tuple[PackedWeight, Tensor]:
    """Random codes, packed, and what they stand for in float64."""
    generator = torch.Generator().manual_seed(rows + columns + seed)
    codes = torch.randint(0, 1 << scheme.bits, (rows, columns), generator=generator, dtype=torch.uint8)
    groups = -(-columns // scheme.group)
    scales, offsets = torch.randn(2, rows, groups, generator=generator).half()
    given = offsets if scheme.affine else None
    of_columns = [t.double().repeat_interleave(scheme.group, 1)[:, :columns] for t in (scales, offsets)]
    dense = (codes.double() - 2 ** (scheme.bits - 1)) * of_columns[0] + (of_columns[1] if scheme.affine else 0)
    return pack(words_of(codes, scheme.bits), scales, given, scheme), dense


def assert_close(pieces: Sequence[PackedWeight], dense: Tensor) -> None:
    meant = torch.cat([dequantize(piece.matrix, piece.group) for piece in pieces])
    torch.testing.assert_close(meant[:, : dense.shape[1]].double(), dense, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@pytest.mark.parametrize(("rows", "columns"), [(16, 64), (1, 1), (37, 100), (48, 576)])
def test_codes_stand_for_the_formula(rows: int, columns: int, scheme: QuantScheme) -> None:
    weight, dense = draw(rows, columns, scheme)
    assert weight.shape == (rows, columns + -columns % (32 // scheme.bits))  # whole words
    assert_close([weight], dense)
    values = weight.data.shape[0] * 16 * weight.scales.shape[1] * scheme.group
    assert 8 * weight.num_bytes == values * scheme.bits_per_weight


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_matrices_are_cut_and_joined(scheme: QuantScheme) -> None:
    (gate, dense_gate), (up, dense_up) = (draw(96, 100, scheme, seed) for seed in (0, 1))
    both = torch.cat((dense_gate, dense_up))
    assert_close([stack([gate, up])], both)
    assert_close(apart([stack([gate, up])], 4), both)
    assert_close(join([gate, up]), both)
    cut = [
        part for pair in zip(dense_gate.split(scheme.group), dense_up.split(scheme.group), strict=True) for part in pair
    ]
    assert_close([interleave([gate], [up])], torch.cat(cut))


def test_schemes_that_differ_in_offsets_are_not_joined() -> None:
    symmetric, affine = (draw(16, 64, QuantScheme(4, 32, affine=affine))[0] for affine in (False, True))
    assert len(join([symmetric, affine])) == 2


def test_words_are_shuffled_into_the_order_of_lines() -> None:
    """From hexadecimal digits, the lowest first."""
    stream = torch.tensor([[0x76543210, -0x01234568]], dtype=torch.int32)  # the second is fedcba98
    codes = torch.arange(16, dtype=torch.uint8).unsqueeze(0)
    assert torch.equal(codes_in(shuffled(stream), 4), codes)
    assert torch.equal(words_of(codes, 4), shuffled(stream))
