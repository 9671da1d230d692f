"""Weights of the right shape and no meaning, for measuring a model that is not there."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from llmrt.model.checkpoints.headers import AssumedHeaders
from llmrt.model.config import ModelConfig

_POOL = 1 << 22


class RandomCheckpoint(AssumedHeaders):
    """Normal numbers of deviation 0.02, the same each time; norms are ones.

    Matrices are windows of one pool of numbers, each from its own offset: drawing 7 billion would take longer than
    measuring with them.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, "bf16")
        self._offsets = {name: 7919 * i for i, name in enumerate(self.inventory)}
        generator = torch.Generator().manual_seed(0)
        self._pool = torch.empty(_POOL, dtype=torch.bfloat16).normal_(0, 0.02, generator=generator)

    def load(self, name: str) -> Tensor:
        """One tensor in bf16."""
        shape = self.inventory[name].shape
        if "norm" in name:
            return torch.ones(shape, dtype=torch.bfloat16)
        count, start = math.prod(shape), self._offsets[name] % _POOL
        repeats = -(-(start + count) // _POOL)
        return self._pool.repeat(repeats)[start : start + count].view(shape)

    def load_codes(self, name: str, *, flat: bool) -> None:
        """Random weights have no codes."""

    def load_rows(self, name: str) -> None:
        """Nor rows."""
