"""Executes a step: batch, decoder, sampler."""

from __future__ import annotations

import torch
from torch import Tensor

from llmrt.engine.batch_builder import BatchRows, ends_in_step, lay_out
from llmrt.engine.decode_tape import DecodeTapes
from llmrt.engine.request import Request
from llmrt.engine.sampler import sample
from llmrt.engine.scheduler import SampledToken, SchedulerOutput
from llmrt.model.decoder import Decoder
from llmrt.model.kv_cache import KVCache
from llmrt.ops.argmax import ARGMAX
from llmrt.ops.registry import resolve


class TorchModelRunner:
    """Runs ``decoder`` over ``kv``, whose pages hold ``block_size`` tokens each; decode steps by ``tapes`` if given."""

    def __init__(
        self, decoder: Decoder, kv: KVCache, block_size: int, device: torch.device, tapes: DecodeTapes | None = None
    ) -> None:
        self.vocab_size = decoder.config.vocab_size
        self._decoder = decoder
        self._kv = kv
        self._block_size = block_size
        self._device = device
        self._tapes = tapes
        self._argmax = resolve(ARGMAX, decoder.spec)

    @torch.inference_mode()
    def execute(self, scheduled: SchedulerOutput) -> dict[Request, SampledToken]:
        """Compute the scheduled tokens; choose a token for each request that ends in the step."""
        ending = [request for request, num_tokens in scheduled.items() if ends_in_step(request, num_tokens)]
        logits = self._forward(lay_out(scheduled, self._block_size))
        return dict(zip(ending, sample(logits, ending, self._argmax), strict=True)) if ending else {}

    def randomize_cache(self) -> None:
        """See ``KVCache.randomize``."""
        self._kv.randomize()

    def _forward(self, rows: BatchRows) -> Tensor:
        if self._tapes is not None and self._tapes.possible and rows.is_decode:
            logits = self._tapes.run(rows)
            if logits is not None:
                return logits
        return self._decoder(rows.batch(self._device), self._kv)
