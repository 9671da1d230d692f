"""The shape of an operation's contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class OpSpec:
    """Where an operation will run: ``device`` as torch names its type, and the ``dtype`` of activations."""

    device: str
    dtype: torch.dtype


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
