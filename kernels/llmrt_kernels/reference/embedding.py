"""Rows of the embedding table."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def embedding(token_ids: Tensor, table: Tensor) -> Tensor:
    """Look up. token_ids [T] int64, table [V, N] -> [T, N]."""
    return F.embedding(token_ids, table)
