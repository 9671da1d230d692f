"""The records of LoRA adapters that kernels take."""

from __future__ import annotations

from dataclasses import dataclass

from llmrt_kernels.packed import Matrix


@dataclass(frozen=True)
class LowRank:
    """What an adapter adds to N outputs of a product, from ``start`` on: b (a x).

    ``a`` [R, K] and ``b`` [N, R] are of floats; R is a multiple of 16, the adapter's rank padded with zeros.
    """

    a: Matrix
    b: Matrix
    start: int


@dataclass(frozen=True, eq=False)
class LowRankTable:
    """What each adapter adds to a product of ``rows`` outputs, by its number: nothing where it leaves it alone."""

    rows: int
    adapters: tuple[tuple[LowRank, ...], ...]
