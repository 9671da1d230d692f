"""The shape of an operation's contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar

import torch

from llmrt.ops.rules import Case

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

P = ParamSpec("P")
R = TypeVar("R")

# What goes into a product: a tensor [T, K], or what one backend's kernels hand to each other in its place. An op that
# takes or gives them is an ``Op[..., R]``, for its candidates differ in that type.
Activations = Any


@dataclass(frozen=True)
class OpSpec:
    """Where an operation will run: ``device`` as torch names its type, and the ``dtype`` of activations.

    ``group`` activations share a scale where matrices are quantized and products take int8; 0 where nothing is.
    ``granule`` divides every size of the model, and half of its head dimension on a CPU. ``in_blocks`` says that
    matrices which are not quantized are packed as well, in blocks of rows for the native kernels; ``dtype`` is then
    that of a product's inputs, and everything else is fp32.
    """

    device: str
    dtype: torch.dtype
    group: int = 0
    granule: int = 16
    in_blocks: bool = False

    @property
    def packed(self) -> bool:
        """Whether the model's matrices are packed."""
        return self.group > 0 or self.in_blocks

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
