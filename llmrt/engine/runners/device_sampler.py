"""Choosing tokens where their logits are: the likeliest ones, or draws by each request's own parameters.

R rows, as many as there may be; words of 64 bits, written by the host and handed over in one copy:

    [ seeds R | draws R | temperature R | top_p R | min_p R | top_k R ]       the last four in halves of their words
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from llmrt.engine.request import Request
from llmrt.engine.runners.decode_rows import DecodeRows
from llmrt.engine.runners.device import StepDevice
from llmrt.ops.registry import resolve
from llmrt.ops.table import ARGMAX, SAMPLE
from llmrt.ops.types import OpSpec

FIELDS = 6
_MASK64 = (1 << 64) - 1


@dataclass(frozen=True)
class SamplingKind:
    """How the rows of a step are sampled: greedy ones alone, or drawn ones too, and which filters any of those has."""

    draws: bool
    any_top_k: bool = False
    any_top_p: bool = False


GREEDY = SamplingKind(draws=False)


class DeviceSampler:
    """Samples on ``device`` for up to ``capacity`` rows."""

    def __init__(self, device: StepDevice, capacity: int, spec: OpSpec) -> None:
        self._argmax: Callable[[Tensor], Tensor] = resolve(ARGMAX, spec)
        self._sample = resolve(SAMPLE, spec)
        self._device, self._capacity = device, capacity
        self._words = torch.zeros(FIELDS * capacity, dtype=torch.int64, device=device.device)
        self._parameters = _Parameters(capacity)
        # A copy from one may still wait when the next step is written, but not when the step after that is.
        self._host = [device.host_buffer(FIELDS * capacity, torch.int64) for _ in range(2)]

    def prepare(self, rows: DecodeRows) -> SamplingKind | None:
        """Hand over what sampling for ``rows`` depends on; None if the host has to choose for one of them."""
        requests = rows.requests
        if all(request.is_plain_greedy for request in requests):
            return GREEDY
        if not all(request.is_plain for request in requests):
            return None
        self._host.reverse()
        self._parameters.write(rows, self._host[0].numpy())
        self._device.copy(self._words, self._host[0])
        params = [request.params for request in requests]
        return SamplingKind(True, any(p.top_k > 0 for p in params), any(p.top_p < 1 for p in params))

    def sample(self, sampling: SamplingKind, logits: Tensor) -> Tensor:
        """The tokens of the rows that were prepared. logits [R, V] -> [R] int64."""
        if not sampling.draws:
            return self._argmax(logits)
        rows = len(logits)
        seeds, draws, *halves = self._words.view(FIELDS, self._capacity)
        temperature, top_p, min_p = (half.view(torch.float32)[:rows] for half in halves[:3])
        return self._sample(
            logits,
            temperature,
            halves[3].view(torch.int32)[:rows],
            top_p,
            min_p,
            seeds[:rows],
            draws[:rows],
            any_top_k=sampling.any_top_k,
            any_top_p=sampling.any_top_p,
        )


class _Parameters:
    """The words of the rows of the last step, of which only ``draws`` change while their requests are the same."""

    def __init__(self, capacity: int) -> None:
        self._words: npt.NDArray[np.int64] = np.zeros((FIELDS, capacity), dtype=np.int64)
        self._requests: list[Request] = []

    def write(self, rows: DecodeRows, out: npt.NDArray[np.int64]) -> None:
        """Rows after those of ``rows`` are padding, which is greedy."""
        if rows.requests != self._requests:
            self._requests = list(rows.requests)
            self._write_parameters(self._requests)
        self._words[1, : rows.count] = rows.draws
        out[:] = self._words.reshape(-1)

    def _write_parameters(self, requests: Sequence[Request]) -> None:
        params, count = [request.params for request in requests], len(requests)
        self._words[:] = 0
        self._words[0].view(np.uint64)[:count] = [request.seed & _MASK64 for request in requests]
        self._words[2].view(np.float32)[:count] = [p.temperature for p in params]
        self._words[3].view(np.float32)[:count] = [p.top_p for p in params]
        self._words[4].view(np.float32)[:count] = [p.min_p for p in params]
        self._words[5].view(np.int32)[:count] = [p.top_k for p in params]
