"""Cutting a part out of a tensor that a checkpoint fuses."""

from __future__ import annotations

from torch import Tensor

from llmrt.model.stored_tensor import Part


def part_of(tensor: Tensor, part: Part) -> Tensor:
    """The rows that ``part`` names, [N, K] or [N]."""
    rows = tensor.T if part.transposed else tensor
    return rows.unflatten(0, (part.groups, -1))[:, part.start : part.end].flatten(0, 1).contiguous()
