"""The shape of an operation's contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class OpSpec:
    """Where an operation will run: ``device`` as torch names its type, and the ``dtype`` of activations.

    ``packed`` says that the model's matrices are quantized, ``size`` is the innermost dimension of the operation's
    tensors (0 where it does not matter).
    """

    device: str
    dtype: torch.dtype
    packed: bool = False
    size: int = 0

    def of_size(self, size: int) -> OpSpec:
        """The same with another ``size``."""
        return replace(self, size=size)


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
