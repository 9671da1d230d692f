"""Token ids and positions to vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from llmrt.ops.registry import resolve
from llmrt.ops.table import ADD_ROWS, EMBEDDING
from llmrt.ops.types import OpSpec


class Embedding(nn.Module):
    """A table [vocab_size, hidden_size]."""

    weight: Tensor

    def __init__(self, vocab_size: int, hidden_size: int, spec: OpSpec) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(vocab_size, hidden_size, dtype=spec.dtype, device="meta"))
        self._embedding = resolve(EMBEDDING, spec)

    def forward(self, token_ids: Tensor) -> Tensor:
        """token_ids [T] -> [T, hidden_size]."""
        return self._embedding(token_ids, self.weight)


class Positions(nn.Module):
    """A vector for each position, [context_length, hidden_size]."""

    weight: Tensor

    def __init__(self, context_length: int, hidden_size: int, spec: OpSpec) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(context_length, hidden_size, dtype=spec.dtype, device="meta"))
        self._add_rows = resolve(ADD_ROWS, spec)

    def forward(self, stream: Tensor, positions: Tensor) -> Tensor:
        """stream [T, hidden_size], positions [T] -> the stream with their vectors added."""
        return self._add_rows(stream, self.weight, positions)
