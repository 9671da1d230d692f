"""Layers whose weights are quantized and packed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from llmrt.ops.embedding_packed import EMBEDDING_PACKED
from llmrt.ops.linear_packed import LINEAR_PACKED
from llmrt.ops.registry import resolve
from llmrt.ops.types import OpSpec
from llmrt.quant.packed_weight import PackedWeight


class PackedLinear(nn.Module):
    """y = x W^T + b, with W in pieces of consecutive rows: parts of one matrix may be kept at different widths."""

    def __init__(self, pieces: Sequence[PackedWeight], bias: Tensor | None, spec: OpSpec) -> None:
        super().__init__()
        ends = list(accumulate(piece.shape[0] for piece in pieces))
        rows = [slice(end - piece.shape[0], end) for piece, end in zip(pieces, ends, strict=True)]
        self._pieces = list(zip(rows, pieces, strict=True))
        self._out_features = ends[-1]
        self._bias = bias
        self._linear_packed = resolve(LINEAR_PACKED, spec)

    @property
    def pieces(self) -> list[PackedWeight]:
        """The parts of the matrix, from its first rows to its last."""
        return [piece for _, piece in self._pieces]

    def forward(self, x: Tensor) -> Tensor:
        """Multiply. x [T, in_features] -> [T, out_features]."""
        out = torch.empty(x.shape[0], self._out_features, dtype=x.dtype)
        for rows, piece in self._pieces:
            bias = None if self._bias is None else self._bias[rows]
            scheme = piece.scheme
            self._linear_packed(
                x,
                piece.data,
                piece.scales,
                piece.zeros,
                bias,
                out[:, rows],
                bits=scheme.bits,
                group=scheme.group,
            )
        return out


class PackedEmbedding(nn.Module):
    """Rows of an int8 table, which may be the head's too."""

    def __init__(self, table: PackedWeight, spec: OpSpec) -> None:
        super().__init__()
        self.table = table
        self._embedding_packed = resolve(EMBEDDING_PACKED, spec)

    def forward(self, token_ids: Tensor) -> Tensor:
        """token_ids [T] -> [T, hidden_size]."""
        table = self.table
        return self._embedding_packed(token_ids, table.data, table.scales, table.shape[1], group=table.scheme.group)
