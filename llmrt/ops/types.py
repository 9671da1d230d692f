"""The shape of an operation's contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar

import torch

from llmrt.ops.rules import Case, Spec

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

P = ParamSpec("P")
R = TypeVar("R")

# What goes into a product: a tensor [T, K], or what one backend's kernels hand to each other in its place. An op that
# takes or gives them is an ``Op[..., R]``, for its candidates differ in that type.
Activations = Any


class OpSpec(Spec[torch.dtype]):
    """Where an operation of a decoder will run."""

    @property
    def case(self) -> Case:
        """The same without torch."""
        names = (name for name, dtype in DTYPES.items() if dtype == self.dtype)
        return Case(self.device, next(names, str(self.dtype)), self.group, self.granule, self.in_blocks)

    @property
    def stream(self) -> torch.dtype:
        """The type of the residual stream."""
        return torch.float32 if self.in_blocks else self.dtype


@dataclass(frozen=True)
class Implementation(Generic[P, R]):
    """One way to compute an operation.

    ``load`` gives the function, and imports first what it needs. ``supports`` returns None if it serves the spec, else
    the reason why it does not.
    """

    backend: str
    load: Callable[[], Callable[P, R]]
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
    return Implementation("reference", lambda: fn, everything)
