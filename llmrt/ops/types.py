"""The shape of an operation's contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")

# What goes into a product: a tensor [T, K], or what one backend's kernels hand to each other in its place. An op that
# takes or gives them is an ``Op[..., R]``, for its candidates differ in that type.
Activations = Any


@dataclass(frozen=True)
class OpSpec:
    """Where an operation will run: ``device`` as torch names its type, and the ``dtype`` of activations.

    ``group`` activations share a scale where matrices are quantized and products take int8; 0 where nothing is.
    ``granule`` divides every size of the model and half of its head dimension.
    """

    device: str
    dtype: torch.dtype
    group: int = 0
    granule: int = 16

    @property
    def packed(self) -> bool:
        """Whether the model's matrices are quantized."""
        return self.group > 0


@dataclass(frozen=True)
class Implementation(Generic[P, R]):
    """One way to compute an operation.

    ``supports`` returns None if it serves the spec, else the reason why it does not.
    """

    backend: str
    fn: Callable[P, R]
    supports: Callable[[OpSpec], str | None]


@dataclass(frozen=True)
class Op(Generic[P, R]):
    """An operation: its name and its candidates in order of preference, all of one signature."""

    name: str
    candidates: tuple[Implementation[P, R], ...]


def everything(spec: OpSpec) -> str | None:
    """The ``supports`` of a reference implementation: it serves every spec."""
    del spec
    return None


def reference(fn: Callable[P, R]) -> Implementation[P, R]:
    """The candidate that stands last in every list."""
    return Implementation("reference", fn, everything)
