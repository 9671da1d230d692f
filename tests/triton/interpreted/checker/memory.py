"""What a launch may touch: the tensors that it was given, and which of their bytes nobody has written."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any
from weakref import ref

import numpy as np
import pytest
import torch
from torch import Tensor

Bytes = np.ndarray[Any, np.dtype[np.bool_]]

ADDRESS_BITS = 48  # above them a pointer has the number of its argument
ADDRESS = (1 << ADDRESS_BITS) - 1
LAUNCHERS = "llmrt_kernels.triton"  # whose allocations are watched
WIDEST = 8  # bytes of one access


class Fresh:
    """The bytes of a tensor just allocated. What torch writes to it later makes its version another."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor, self._version = ref(tensor), tensor._version
        self.unwritten: Bytes = np.ones(-(-tensor.untyped_storage().nbytes() // WIDEST) * WIDEST, np.bool_)

    @property
    def is_known(self) -> bool:
        """Whether kernels alone have written to it."""
        tensor = self._tensor()
        return tensor is not None and tensor._version == self._version


_fresh: dict[int, Fresh] = {}  # by the address of the storage


@dataclass
class Argument:
    """A tensor of a launch. Pointers made of it have ``number`` in their upper bits, through all arithmetic."""

    name: str
    number: int
    tensor: Tensor

    def __post_init__(self) -> None:
        tensor = self.tensor
        self.dtype, self.itemsize = tensor.dtype, tensor.element_size()
        self.storage = tensor.untyped_storage().data_ptr()
        self.start = tensor.data_ptr()
        reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
        self.end = self.start + (reach + 1) * self.itemsize if tensor.numel() else self.start
        fresh = _fresh.get(self.storage)
        self.unwritten = fresh.unwritten if fresh is not None and fresh.is_known else None

    def data_ptr(self) -> int:
        """What the interpreter makes the pointer of."""
        return self.start | self.number << ADDRESS_BITS

    def place(self, address: int) -> str:
        """What is there, for people."""
        return f"{self.name}[{(address - self.start) // self.itemsize}]"


def watch_allocations(patch: pytest.MonkeyPatch) -> None:
    """Remember what launchers allocate without filling it."""
    for owner, name in ((torch, "empty"), (torch, "empty_like"), (Tensor, "new_empty")):
        patch.setattr(owner, name, _watched(getattr(owner, name)))
    _fresh.clear()


def _watched(allocate: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @wraps(allocate)
    def allocated(*args: Any, **kwargs: Any) -> Tensor:
        tensor = allocate(*args, **kwargs)
        if sys._getframe(1).f_globals["__name__"].startswith(LAUNCHERS) and not tensor.is_inference():
            _fresh[tensor.untyped_storage().data_ptr()] = Fresh(tensor)
        return tensor

    return allocated
