"""The likeliest token."""

from __future__ import annotations

from torch import Tensor


def argmax(logits: Tensor) -> Tensor:
    """The index of each row's largest value. logits [T, V] -> [T] int64."""
    return logits.argmax(-1)
