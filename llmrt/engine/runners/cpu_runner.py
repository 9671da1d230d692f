"""Executes steps on the processor: batch, decoder, sampler."""

from __future__ import annotations

from collections.abc import Mapping

from llmrt.engine.request import Request
from llmrt.engine.runners.decode_tape import DecodeTapes
from llmrt.engine.runners.layered_prefill import LayeredPrefill
from llmrt.engine.runners.pooling import Pooler
from llmrt.engine.sampling.sampler import Sampler
from llmrt.engine.scheduler import SchedulerOutput, StepResult
from llmrt.model.kv_cache import KVCache
from llmrt.model.modules.decoder import Decoder


class CpuRunner:
    """Runs ``decoder`` over ``kv``, whose pages hold ``block_size`` tokens each; decode steps by ``tapes`` if given."""

    def __init__(self, decoder: Decoder, kv: KVCache, block_size: int, tapes: DecodeTapes | None = None) -> None:
        self.vocab_size, self.hidden_size = decoder.config.vocab_size, decoder.config.hidden_size
        self._decoder = decoder
        self._kv = kv
        self._block_size = block_size
        self._tapes = tapes
        self._sampler = Sampler(decoder.spec)
        self._pooler = Pooler(decoder.norm)

    @property
    def verifies(self) -> bool:
        """See ``ModelRunner``. Only a tape's rows are the same to the last bit as those of a step without drafts."""
        return self._tapes is not None and self._tapes.possible

    def execute(self, scheduled: SchedulerOutput) -> Mapping[Request, StepResult]:
        """See ``ModelRunner``."""
        requests = list(scheduled)
        if self._tapes is not None and self._tapes.possible:
            step = self._tapes.run(requests)
            if step is not None:
                return self._sampler.verify(step.logits, requests, step.likeliest)
        prefill = self.begin(dict.fromkeys(requests, 1))
        while not prefill.advance():
            pass
        return prefill.results()

    def begin(self, scheduled: SchedulerOutput) -> LayeredPrefill:
        """See ``ModelRunner``."""
        return LayeredPrefill(scheduled, self._decoder, self._kv, self._block_size, self._pooler, self._sampler)

    def forget_adapters(self) -> None:
        """See ``Runner``."""
        if self._tapes is not None:
            self._tapes.forget_adapters()

    def warm_up(self, max_tokens: int, *, adapted: bool = False) -> None:
        """See ``Runner``. There is nothing to compile."""

    def randomize_cache(self) -> None:
        """See ``KVCache.randomize``."""
        self._kv.randomize()
