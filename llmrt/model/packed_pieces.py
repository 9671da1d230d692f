"""Quantized tensors that are neighbours in a matrix, joined for fewer products, and the layers that they go into."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from llmrt.model.linear import GatedLinear, RotaryLinear
from llmrt.model.packed_linear import PackedGatedLinear, PackedLinear, PackedModule, PackedRotaryLinear
from llmrt.ops.types import OpSpec
from llmrt.quant.packed_weight import PackedWeight

BLOCK = 16  # rows that are packed together


def packed_twin(dense: nn.Module, pieces: Sequence[PackedWeight], bias: Tensor | None, spec: OpSpec) -> PackedModule:
    """What takes the place of ``dense`` when its weight is in ``pieces`` of consecutive rows."""
    kind = twin_kind(dense)
    if kind is PackedGatedLinear:
        gate, up = pieces
        if bias is not None:
            first, second = bias.chunk(2)
            bias = interleave_rows(first, second, gate.scheme.group)
        pieces = [interleave(gate, up)]
    return kind(join(pieces), bias, spec)


def twin_kind(dense: nn.Module) -> type[PackedModule]:
    """The layer that takes the place of ``dense``."""
    if isinstance(dense, RotaryLinear):
        return PackedRotaryLinear
    return PackedGatedLinear if isinstance(dense, GatedLinear) else PackedLinear


def interleave(gate: PackedWeight, up: PackedWeight) -> PackedWeight:
    """One weight of two of the same shape and scheme: a group's worth of rows of each in turn.

    The rows are padded to whole blocks.
    """
    assert (gate.scheme, gate.shape) == (up.scheme, up.shape)
    blocks = gate.scheme.group // BLOCK
    data = interleave_rows(gate.data, up.data, blocks)
    scales = interleave_rows(gate.scales, up.scales, blocks)
    return PackedWeight(data, scales, gate.scheme, (len(data) * BLOCK, gate.shape[1]))


def interleave_rows(first: Tensor, second: Tensor, run: int) -> Tensor:
    """``run`` rows of each in turn."""
    pairs = zip(first.split(run), second.split(run), strict=True)
    return torch.cat([rows for pair in pairs for rows in pair])


def join(pieces: Sequence[PackedWeight]) -> list[PackedWeight]:
    """Make one of neighbours of the same scheme where their borders are borders of blocks, for fewer products."""
    keyed = groupby(pieces, key=lambda piece: (piece.scheme, piece.shape[0] % BLOCK == 0))
    return [piece for (_, whole), group in keyed for piece in (_concatenate(list(group)) if whole else group)]


def _concatenate(pieces: Sequence[PackedWeight]) -> list[PackedWeight]:
    if len(pieces) == 1:
        return list(pieces)
    first = pieces[0]
    rows = sum(piece.shape[0] for piece in pieces)
    return [
        PackedWeight(
            torch.cat([piece.data for piece in pieces]),
            torch.cat([piece.scales for piece in pieces]),
            first.scheme,
            (rows, first.shape[1]),
        )
    ]
