"""Decode steps as graphs: a step is recorded once for a number of rows, and then handed over whole.

    rows    1  2  4  8  16  24  32 ...     a step of fewer requests is padded

A graph is recorded when it is first needed. It stays right for as long as the engine lives: the weights, the pool of KV
blocks and the inputs that it points to are allocated once and never move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from llmrt.engine.choice import Choice, Chooser
from llmrt.engine.decode_inputs import DecodeInputs
from llmrt.engine.device import Computed, Graph, StepDevice
from llmrt.engine.request import Request
from llmrt.model.decoder import Decoder
from llmrt.model.kv_cache import KVCache


def rows_for(count: int) -> int:
    """The rows of the graph that serves ``count`` requests."""
    return 1 << (count - 1).bit_length() if count <= 8 else -(-count // 8) * 8


class DecodeGraphs:
    """Runs ``decoder`` over batches of one token a request."""

    def __init__(
        self, decoder: Decoder, kv: KVCache, device: StepDevice, inputs: DecodeInputs, chooser: Chooser
    ) -> None:
        self._decoder = decoder
        self._kv = kv
        self._device = device
        self._inputs = inputs
        self._chooser = chooser
        self._graphs: dict[tuple[int, Choice | None], Graph] = {}

    def run(self, requests: Sequence[Request], chosen: Mapping[Request, int], choice: Choice | None) -> Computed:
        """Hand over a step. Its tokens are in the inputs then, unless the host chooses; its result is logits [rows, V].

        ``chosen`` has the place of each request that the last step chose a token for.
        """
        rows = rows_for(len(requests))
        self._inputs.write(requests, rows, chosen)
        graph = self._graphs.get((rows, choice))
        if graph is None:
            graph = self._graphs[rows, choice] = self._device.capture(lambda: self._step(rows, choice))
        else:
            graph.replay()
        return graph

    def _step(self, rows: int, choice: Choice | None) -> Tensor:
        logits = self._decoder(self._inputs.batch(rows), self._kv)
        if choice is not None:
            self._inputs.chosen[:rows].copy_(self._chooser.choose(choice, logits))
        return logits
