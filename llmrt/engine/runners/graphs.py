"""Decode steps as graphs: a step is recorded once for a number of rows, and then handed over whole.

    rows    1  2  4  8  16  24  32 ...     a step of fewer is padded

A graph is recorded when it is first needed. It stays right for as long as the engine lives: the weights, the pool of KV
blocks and the inputs that it points to are allocated once and never move. The matrices of adapters come and go, and the
graphs that read them go with them; steps in which no request has an adapter have graphs without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from llmrt.engine.request import Request
from llmrt.engine.runners.batch_builder import has_adapters
from llmrt.engine.runners.decode_inputs import DecodeInputs
from llmrt.engine.runners.decode_rows import DecodeRows
from llmrt.engine.runners.device import Computed, Graph, StepDevice
from llmrt.engine.runners.device_sampler import DeviceSampler, SamplingKind
from llmrt.model.kv_cache import KVCache
from llmrt.model.modules.decoder import Decoder


def rows_for(count: int) -> int:
    """The rows of the graph that serves ``count`` of them."""
    return 1 << (count - 1).bit_length() if count <= 8 else -(-count // 8) * 8


class _Kind(NamedTuple):
    """What steps that one graph serves have in common: their rows, how tokens are chosen, and adapters or none."""

    rows: int
    sampling: SamplingKind | None
    adapted: bool


class DecodeGraphs:
    """Runs ``decoder`` over batches of one token a request."""

    def __init__(
        self, decoder: Decoder, kv: KVCache, device: StepDevice, inputs: DecodeInputs, sampler: DeviceSampler
    ) -> None:
        self._decoder = decoder
        self._kv = kv
        self._device = device
        self._inputs = inputs
        self._sampler = sampler
        self._graphs: dict[_Kind, Graph] = {}

    def run(self, rows: DecodeRows, chosen: Sequence[Request], sampling: SamplingKind | None) -> Computed:
        """Hand over a step. Its tokens are in the inputs then; where the host chooses, its result is logits [rows, V].

        The last step chose tokens for the requests ``chosen``, in their order.
        """
        kind = _Kind(rows_for(rows.count), sampling, has_adapters(rows.requests))
        self._inputs.write(rows, kind.rows, chosen, adapted=kind.adapted)
        graph = self._graphs.get(kind)
        if graph is None:
            graph = self._graphs[kind] = self._device.capture(lambda: self._step(kind))
        else:
            graph.replay()
        return graph

    def forget_adapters(self) -> None:
        """The matrices of adapters are others from now on. No step is under way."""
        self._graphs = {kind: graph for kind, graph in self._graphs.items() if not kind.adapted}

    def _step(self, kind: _Kind) -> Tensor:
        """Logits [rows, V], or the tokens that were chosen by them: a graph keeps what it returns to itself."""
        logits = self._decoder(self._inputs.batch(kind.rows, adapted=kind.adapted), self._kv)
        if kind.sampling is None:
            return logits
        return self._inputs.chosen[: kind.rows].copy_(self._sampler.sample(kind.sampling, logits))
