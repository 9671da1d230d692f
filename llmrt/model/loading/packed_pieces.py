"""Quantized tensors that are neighbours in a matrix, joined for fewer products, and the layers that they go into."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, groupby

import torch
from torch import Tensor, nn

from llmrt.model.modules.decoder import Decoder
from llmrt.model.modules.embedding import Embedding
from llmrt.model.modules.linear import ActivatedLinear, GatedLinear, RotaryLinear
from llmrt.model.modules.moe import Experts, GatedExperts
from llmrt.model.modules.packed_linear import (
    PackedActivatedLinear,
    PackedEmbedding,
    PackedExperts,
    PackedGatedLinear,
    PackedLinear,
    PackedModule,
    PackedRotaryLinear,
)
from llmrt.ops.types import OpSpec
from llmrt.quant.packed_weight import BLOCK, PackedWeight, stack

PACKED: dict[type[nn.Module], type[PackedModule]] = {
    Embedding: PackedEmbedding,
    RotaryLinear: PackedRotaryLinear,
    Experts: PackedExperts,
    GatedExperts: PackedExperts,
}


def twin_kind(dense: nn.Module) -> Callable[..., PackedModule]:
    """The layer that takes the place of ``dense``, of pieces, bias and spec."""
    if isinstance(dense, GatedLinear):
        return partial(PackedGatedLinear, activation=dense.activation)
    if isinstance(dense, ActivatedLinear):
        return partial(PackedActivatedLinear, activation=dense.activation)
    return PACKED.get(type(dense), PackedLinear)


def packed_twin(dense: nn.Module, pieces: Sequence[PackedWeight], bias: Tensor | None, spec: OpSpec) -> PackedModule:
    """What takes the place of ``dense`` when its weight is in ``pieces`` of consecutive rows.

    Those of experts are the gates of each, then what they gate; or one piece of all gates and one of the others.
    """
    packed = twin_kind(dense)
    if isinstance(dense, GatedExperts):
        gates, ups = pieces[: len(pieces) // 2], pieces[len(pieces) // 2 :]
        count = len(dense.weight) // len(gates)
        return packed([interleave(_apart(gates, count), _apart(ups, count))], bias, spec)
    if isinstance(dense, Experts):
        return packed([stack(pieces)], bias, spec)
    if isinstance(dense, GatedLinear):
        gate, up = pieces
        if bias is not None:
            bias = gated_bias(bias, gate.group)
        return packed([interleave([gate], [up])], bias, spec)
    return packed(join(pieces), bias, spec)


def install(decoder: Decoder, name: str, packed: PackedModule, spec: OpSpec) -> None:
    """Put ``packed`` in the place of the layer ``name``; an embedding table may be the head too."""
    decoder.set_submodule(name, packed)
    if name == "embedding" and decoder.config.tied_embeddings:
        decoder.set_submodule("lm_head", PackedLinear(packed.pieces, None, spec))


def gated_bias(bias: Tensor, group: int) -> Tensor:
    """That of a gate above that of what it gates, in the order of a packed weight's rows."""
    gate, up = bias.chunk(2)
    return torch.cat(list(in_turn(gate, up, group)))


def _apart(pieces: Sequence[PackedWeight], count: int) -> list[PackedWeight]:
    return [matrix for piece in pieces for matrix in piece.split(count)]


def interleave(gates: Sequence[PackedWeight], ups: Sequence[PackedWeight]) -> PackedWeight:
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


def join(pieces: Sequence[PackedWeight]) -> list[PackedWeight]:
    """Make one of neighbours of the same scheme where their borders are borders of blocks, for fewer products."""
    keyed = groupby(pieces, key=lambda piece: (piece.scheme, piece.shape[0] % BLOCK == 0))
    return [piece for (_, whole), group in keyed for piece in ([stack(list(group))] if whole else group)]
