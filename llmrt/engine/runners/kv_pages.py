"""Blocks of the KV cache as bytes in the memory of the host, and back.

A page has a block's part of every tensor of the cache, one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmrt.engine.kv.pages import Pages
from llmrt.engine.runners.device import Event, StepDevice
from llmrt.model.kv_cache import KVCache


def pages_of(kv: KVCache, device: StepDevice | None) -> Pages:
    """The blocks of ``kv``, which ``device`` computes, if one does on its own."""
    return HostPages(kv) if device is None else DevicePages(kv, device)


@dataclass(frozen=True)
class Bytes:
    """A page of ``HostPages``."""

    data: NDArray[np.uint8]

    def content(self) -> memoryview:
        """See ``HostPage``."""
        return self.data.data


class HostPages:
    """See ``Pages``. numpy, for a block is many small copies, each of which takes torch several times as long."""

    def __init__(self, kv: KVCache) -> None:
        self._arrays = [tensor.numpy() for tensor in _as_bytes(kv)]
        self._places = list(pairwise(accumulate((array[0].size for array in self._arrays), initial=0)))
        self.num_bytes = self._places[-1][1]

    def empty(self) -> Bytes:
        """See ``Pages``."""
        return Bytes(np.empty(self.num_bytes, np.uint8))

    def copy_out(self, block: int) -> Bytes:
        """See ``Pages``."""
        page = self.empty()
        for array, (start, end) in zip(self._arrays, self._places, strict=True):
            page.data[start:end].reshape(array.shape[1:])[...] = array[block]
        return page

    def copy_in(self, page: Bytes, block: int) -> None:
        """See ``Pages``."""
        for array, (start, end) in zip(self._arrays, self._places, strict=True):
            array[block] = page.data[start:end].reshape(array.shape[1:])


@dataclass(frozen=True)
class LateBytes:
    """A page of ``DevicePages``, whose bytes are there after ``event``."""

    data: Tensor
    event: Event | None = None

    def content(self) -> memoryview:
        """See ``HostPage``."""
        if self.event is not None:
            self.event.wait()
        return self.data.numpy().data


class DevicePages:
    """See ``Pages``. A block is gathered on the device, so that one copy goes over, after the steps."""

    def __init__(self, kv: KVCache, device: StepDevice) -> None:
        self._tensors, self._device = _as_bytes(kv), device
        sizes = [tensor[0].numel() for tensor in self._tensors]
        self.num_bytes = sum(sizes)
        self._gathered = torch.empty(self.num_bytes, dtype=torch.uint8, device=device.device)
        pieces = zip(self._gathered.split(sizes), self._tensors, strict=True)
        self._pieces = [piece.view(tensor.shape[1:]) for piece, tensor in pieces]

    def empty(self) -> LateBytes:
        """See ``Pages``."""
        return LateBytes(self._device.host_buffer(self.num_bytes, torch.uint8))

    def copy_out(self, block: int) -> LateBytes:
        """See ``Pages``."""
        page = self.empty()
        self._device.run(lambda: self._copy(self._pieces, [tensor[block] for tensor in self._tensors]))
        self._device.copy(page.data, self._gathered)
        return LateBytes(page.data, self._device.event())

    def copy_in(self, page: LateBytes, block: int) -> None:
        """See ``Pages``."""
        self._device.copy(self._gathered, page.data)
        self._device.run(lambda: self._copy([tensor[block] for tensor in self._tensors], self._pieces))

    def _copy(self, to: list[Tensor], source: list[Tensor]) -> Tensor:
        for each, other in zip(to, source, strict=True):
            each.copy_(other)
        return self._gathered


def _as_bytes(kv: KVCache) -> list[Tensor]:
    """Views of all tensors, uint8 [num_blocks, KVH, bytes]."""
    return [tensor.view(torch.uint8).flatten(2) for tensor in kv.tensors]
