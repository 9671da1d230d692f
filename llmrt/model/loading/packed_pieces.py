"""Quantized tensors that are neighbours in a matrix, joined for fewer products, and the layers that they go into."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, groupby

import torch
from torch import Tensor, nn

from llmrt.model.modules.block_weight import BlockWeight
from llmrt.model.modules.decoder import Decoder
from llmrt.model.modules.embedding import Embedding
from llmrt.model.modules.linear import ActivatedLinear, GatedLinear, Head, RotaryLinear
from llmrt.model.modules.moe import Experts, GatedExperts
from llmrt.model.modules.packed_linear import (
    PackedActivatedLinear,
    PackedEmbedding,
    PackedExperts,
    PackedGatedLinear,
    PackedHead,
    PackedLinear,
    PackedModule,
    PackedRotaryLinear,
)
from llmrt.quant.packed_weight import BLOCK, Blocks, PackedWeight, stack

PACKED: dict[type[nn.Module], type[PackedModule]] = {
    Embedding: PackedEmbedding,
    Head: PackedHead,
    RotaryLinear: PackedRotaryLinear,
    Experts: PackedExperts,
    GatedExperts: PackedExperts,
}


def _twin_kind(dense: nn.Module) -> Callable[..., PackedModule]:
    """The layer that takes the place of ``dense``, of pieces, bias and spec."""
    if isinstance(dense, GatedLinear):
        return partial(PackedGatedLinear, activation=dense.activation)
    if isinstance(dense, ActivatedLinear):
        return partial(PackedActivatedLinear, activation=dense.activation)
    return PACKED.get(type(dense), PackedLinear)


def arranged(dense: nn.Module, pieces: Sequence[Blocks]) -> Sequence[Blocks]:
    """The weight of ``dense``, which is in ``pieces`` of consecutive rows, in the order of its twin's rows.

    Those of experts are the gates of each, then what they gate; or one piece of all gates and one of the others.
    """
    if isinstance(dense, GatedExperts):
        gates, ups = pieces[: len(pieces) // 2], pieces[len(pieces) // 2 :]
        count = len(dense.weight) // len(gates)
        return [interleave(apart(gates, count), apart(ups, count))]
    if isinstance(dense, Experts):
        return [stack(pieces)]
    if isinstance(dense, GatedLinear):
        gate, up = pieces
        return [interleave([gate], [up])]
    return join(pieces)


def install(decoder: Decoder, name: str, pieces: Sequence[PackedWeight | BlockWeight], bias: Tensor | None) -> None:
    """Put the twin of the layer ``name``, whose rows are in its order, in its place; a table may be the head too."""
    packed = _twin_kind(decoder.get_submodule(name))(pieces, bias, decoder.spec)
    decoder.set_submodule(name, packed)
    if name == "embedding" and decoder.config.tied_embeddings:
        decoder.set_submodule("lm_head", PackedHead(packed.pieces, None, decoder.spec))


def gated_bias(bias: Tensor, group: int) -> Tensor:
    """That of a gate above that of what it gates, in the order of a packed weight's rows."""
    gate, up = bias.chunk(2)
    return torch.cat(list(in_turn(gate, up, group)))


def apart(pieces: Sequence[Blocks], count: int) -> list[Blocks]:
    """The ``count`` matrices that stand in each one above the other, each in whole blocks, without a copy."""
    return [
        piece.of_blocks(parts)
        for piece in pieces
        for parts in zip(*(tensor.chunk(count) for tensor in piece.tensors), strict=True)
    ]


def interleave(gates: Sequence[Blocks], ups: Sequence[Blocks]) -> Blocks:
    """One weight of pairs of the same shape and scheme: a group's worth of rows of each in turn, pair after pair.

    The rows are padded to whole blocks.
    """
    pairs = list(zip(gates, ups, strict=True))
    assert all((gate.scheme, gate.shape) == (up.scheme, up.shape) for gate, up in pairs)
    blocks = gates[0].group // BLOCK
    in_turns = (
        [list(in_turn(*both, blocks)) for both in zip(gate.tensors, up.tensors, strict=True)] for gate, up in pairs
    )
    return gates[0].of_blocks([torch.cat(list(chain(*parts))) for parts in zip(*in_turns, strict=True)])


def in_turn(first: Tensor, second: Tensor, run: int) -> Iterator[Tensor]:
    """``run`` rows of each in turn."""
    for pair in zip(first.split(run), second.split(run), strict=True):
        yield from pair


def join(pieces: Sequence[Blocks]) -> list[Blocks]:
    """Make one of neighbours of the same scheme where their borders are borders of blocks, for fewer products."""
    keyed = groupby(pieces, key=lambda piece: (piece.scheme, piece.shape[0] % BLOCK == 0))
    return [piece for (_, whole), group in keyed for piece in ([stack(list(group))] if whole else group)]
