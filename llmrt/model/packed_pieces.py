"""Quantized tensors on their way into a decoder: gathered by the matrix they are part of, joined, and put in place."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

from llmrt.model.decoder import Decoder
from llmrt.model.linear import GatedLinear, RotaryLinear
from llmrt.model.packed_linear import PackedEmbedding, PackedGatedLinear, PackedLinear, PackedRotaryLinear
from llmrt.model.tensor_slots import Slot
from llmrt.ops.types import OpSpec
from llmrt.quant.packed_weight import PackedWeight

BLOCK = 16  # rows that are packed together
PACKED = {GatedLinear: PackedGatedLinear, RotaryLinear: PackedRotaryLinear}


class PackedPieces:
    """Pieces of matrices by the decoder's parameter and the row where each begins."""

    def __init__(self) -> None:
        self._pieces: dict[str, dict[int, PackedWeight]] = {}

    def add(self, slot: Slot, piece: PackedWeight) -> None:
        """Keep a piece for the place that ``slot`` names."""
        rows = slot.index[0]
        assert isinstance(rows, slice)
        self._pieces.setdefault(slot.parameter, {})[rows.start or 0] = piece

    def tie(self, source: str, target: str) -> None:
        """Let one parameter be another."""
        if source in self._pieces:
            self._pieces[target] = self._pieces[source]

    def replace_modules(self, decoder: Decoder, dense: dict[str, Tensor], spec: OpSpec) -> None:
        """Put packed layers in the place of dense ones; their biases are taken out of ``dense``."""
        while self._pieces:  # taken out one by one, so that what is joined is not held twice
            parameter, pieces = self._pieces.popitem()
            name = parameter.removesuffix(".weight")
            in_order = [pieces[row] for row in sorted(pieces)]
            if name == "embedding":
                (table,) = in_order
                decoder.set_submodule(name, PackedEmbedding(table, spec))
            else:
                bias = dense.pop(f"{name}.bias", None)
                packed = PACKED.get(type(decoder.get_submodule(name)), PackedLinear)
                if packed is PackedGatedLinear:
                    gate, up = in_order
                    in_order = [interleave(gate, up)]
                    bias = None if bias is None else interleave_rows(*bias.chunk(2), gate.scheme.group)
                decoder.set_submodule(name, packed(join(in_order), bias, spec))


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
