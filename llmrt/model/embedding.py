"""Token ids to vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from llmrt.ops.embedding import EMBEDDING
from llmrt.ops.registry import resolve
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
