"""Executes a step: batch, decoder, sampler."""

from __future__ import annotations

import torch

from llmrt.engine.batch_builder import build_batch, ends_in_step
from llmrt.engine.request import Request
from llmrt.engine.sampler import sample
from llmrt.engine.scheduler import SampledToken, SchedulerOutput
from llmrt.model.decoder import Decoder
from llmrt.model.kv_cache import KVCache


class TorchModelRunner:
    """Runs ``decoder`` over ``kv``, whose pages hold ``block_size`` tokens each."""

    def __init__(self, decoder: Decoder, kv: KVCache, block_size: int, device: torch.device) -> None:
        self.vocab_size = decoder.config.vocab_size
        self._decoder = decoder
        self._kv = kv
        self._block_size = block_size
        self._device = device

    @torch.inference_mode()
    def execute(self, scheduled: SchedulerOutput) -> dict[Request, SampledToken]:
        """Compute the scheduled tokens; choose a token for each request that ends in the step."""
        batch = build_batch(scheduled, self._block_size, self._device)
        ending = [request for request, num_tokens in scheduled.items() if ends_in_step(request, num_tokens)]
        logits = self._decoder(batch, self._kv)
        return dict(zip(ending, sample(logits, ending), strict=True)) if ending else {}
