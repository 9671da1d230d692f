"""The record that products with rotated queries and keys take where those are normalised first."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class HeadNorm:
    """RMSNorm of each head of the queries and of the keys, before RoPE: weights ``q`` and ``k`` [D].

    Or of all heads at once: ``q`` [H D] and ``k`` [KVH D]. If ``centred`` it is LayerNorm without a bias, of each head
    by weights of its own: ``q`` [H, D] and ``k`` [KVH, D].
    """

    q: Tensor
    k: Tensor
    eps: float
    centred: bool = False
