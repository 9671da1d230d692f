"""A step on its way through the decoder, one layer at a time."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from llmrt.engine.kv.block_pool import NULL_BLOCK
from llmrt.engine.request import Request
from llmrt.engine.runners.batch_builder import chooses_in_step, lay_out, prompt_ends
from llmrt.engine.runners.pooling import Pooler, pooled_rows, pooled_vectors
from llmrt.engine.sampling.prompt_scores import score, scored_rows
from llmrt.engine.sampling.sampler import Sampler
from llmrt.engine.scheduler import SchedulerOutput, StepResult
from llmrt.model.kv_cache import KVCache
from llmrt.model.modules.decoder import Decoder


class LayeredPrefill:
    """See ``Prefill``."""

    def __init__(
        self,
        scheduled: SchedulerOutput,
        decoder: Decoder,
        kv: KVCache,
        block_size: int,
        pooler: Pooler,
        sampler: Sampler,
    ) -> None:
        self.scheduled, self.num_tokens = dict(scheduled), sum(scheduled.values())
        self._decoder, self._pooler, self._sampler = decoder, pooler, sampler
        rows = lay_out(scheduled, block_size)
        self._rows = dict(zip(scheduled, pairwise(rows.cu_seqlens_q), strict=True))
        self._ending = [request for request, num_tokens in scheduled.items() if chooses_in_step(request, num_tokens)]
        self._pooled, self._scored = pooled_rows(scheduled), scored_rows(scheduled)
        self._batch = rows.batch()
        whole = self._pooled or self._scored
        self._rows_wanted = None if whole else self._batch.logits_index  # after the last layer
        self._streams = decoder.streams(self._batch, kv, self._rows_wanted)
        self._stream = torch.empty(0)
        self._layers_left = decoder.config.num_layers

    @torch.inference_mode()
    def advance(self) -> bool:
        """See ``Prefill``."""
        self._stream = next(self._streams)
        self._layers_left -= 1
        return self._layers_left == 0

    def forget(self, request: Request) -> None:
        """See ``Prefill``. What is computed from now on for the request is written to the null block."""
        del self.scheduled[request]
        start, end = self._rows[request]
        self._batch.slot_mapping[start:end] = NULL_BLOCK

    @torch.inference_mode()
    def results(self) -> dict[Request, StepResult]:
        """See ``Prefill``."""
        pooled = [part for part in self._pooled if part.request in self.scheduled]
        vectors = pooled_vectors(pooled, self._pooler.pool(self._stream, pooled))
        score(self._stream, [part for part in self._scored if part.request in self.scheduled], self._decoder.head)
        here = [row for row, request in enumerate(self._ending) if request in self.scheduled]
        chosen = self._sampler.choose(self._logits()[here], [self._ending[row] for row in here])
        return {**vectors, **prompt_ends(self.scheduled), **chosen}

    def _logits(self) -> Tensor:
        if self._rows_wanted is None:
            return self._decoder.logits(self._stream, self._batch)
        return self._decoder.head(self._stream)
