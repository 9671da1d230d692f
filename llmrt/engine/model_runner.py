"""Executes a step: batch, decoder, sampler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from llmrt.engine.batch_builder import chooses_in_step, lay_out
from llmrt.engine.decode_tape import DecodeTapes
from llmrt.engine.pooling import Pooler, pooled_rows, pooled_vectors
from llmrt.engine.request import Request
from llmrt.engine.sampler import sample
from llmrt.engine.scheduler import PooledVector, SampledToken, SchedulerOutput, StepResult
from llmrt.model.decoder import Decoder
from llmrt.model.kv_cache import KVCache
from llmrt.ops.argmax import ARGMAX
from llmrt.ops.registry import resolve


class TorchModelRunner:
    """Runs ``decoder`` over ``kv``, whose pages hold ``block_size`` tokens each; decode steps by ``tapes`` if given."""

    def __init__(
        self, decoder: Decoder, kv: KVCache, block_size: int, device: torch.device, tapes: DecodeTapes | None = None
    ) -> None:
        self.vocab_size, self.hidden_size = decoder.config.vocab_size, decoder.config.hidden_size
        self._decoder = decoder
        self._kv = kv
        self._block_size = block_size
        self._device = device
        self._tapes = tapes
        self._argmax: Callable[[Tensor], Tensor] = resolve(ARGMAX, decoder.spec)
        self._pooler = Pooler(decoder.norm)

    def execute(self, scheduled: SchedulerOutput) -> dict[Request, StepResult]:
        """Compute the scheduled tokens; choose a token, or pool a vector, for each request that ends in the step."""
        ending = [request for request, num_tokens in scheduled.items() if chooses_in_step(request, num_tokens)]
        if self._tapes is not None and self._tapes.possible and len(ending) == sum(scheduled.values()):
            step = self._tapes.run(ending)  # one token a request, and each ends there
            if step is not None:
                return _chosen(ending, step.logits, step.likeliest)
        logits, vectors = self._forward(scheduled)
        return {**vectors, **_chosen(ending, logits, partial(self._likeliest, logits))}

    def randomize_cache(self) -> None:
        """See ``KVCache.randomize``."""
        self._kv.randomize()

    def _likeliest(self, logits: Tensor) -> list[int]:
        return self._argmax(logits).tolist()

    @torch.inference_mode()
    def _forward(self, scheduled: SchedulerOutput) -> tuple[Tensor, dict[Request, PooledVector]]:
        batch, pooled = lay_out(scheduled, self._block_size).batch(self._device), pooled_rows(scheduled)
        stream = self._decoder.stream(batch, self._kv)
        vectors = pooled_vectors(pooled, self._pooler.pool(stream, pooled))
        return self._decoder.logits(stream, batch), vectors


def _chosen(ending: Sequence[Request], logits: Tensor, likeliest: Callable[[], list[int]]) -> dict[Request, StepResult]:
    """A token for each row of ``logits``, of which ``likeliest`` knows the likeliest ones."""
    if not ending:
        return {}
    for request in ending:
        if not request.is_plain_greedy:
            return dict(zip(ending, sample(logits, ending), strict=True))
    return {request: SampledToken(token_id) for request, token_id in zip(ending, likeliest(), strict=True)}
