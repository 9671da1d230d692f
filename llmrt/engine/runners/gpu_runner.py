"""Executes steps on a device that the host does not wait for: batch, decoder, and the sampling of tokens there.

A step of requests that decode is a graph; one with prompts in it is handed over operation by operation.
Where the host has to look at logits to choose (``SamplingParams.is_plain`` says when not), guesses are verified, a
prompt is reported on, or a request ends with its prompt, the step is waited for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from llmrt.engine.request import PENDING, Request
from llmrt.engine.runners.batch_builder import chooses_in_step, ends_in_step, lay_out, prompt_ends
from llmrt.engine.runners.decode_inputs import DecodeInputs
from llmrt.engine.runners.decode_rows import DRAFT_STEP_ROWS, DecodeRows
from llmrt.engine.runners.device import Computed, Event, StepDevice
from llmrt.engine.runners.device_sampler import GREEDY, DeviceSampler, SamplingKind
from llmrt.engine.runners.graphs import DecodeGraphs, rows_for
from llmrt.engine.runners.pooling import Pooler, pooled_rows, pooled_vectors
from llmrt.engine.runners.runner import KnownResults
from llmrt.engine.runners.warm_up import FirstSteps, WarmUp
from llmrt.engine.sampling.prompt_scores import score, scored_rows
from llmrt.engine.sampling.sampler import Sampler, accept
from llmrt.engine.scheduler import SampledToken, SchedulerOutput, all_decode
from llmrt.model.forward_batch import ForwardBatch
from llmrt.model.kv_cache import KVCache
from llmrt.model.modules.decoder import Decoder
from llmrt.model.modules.lora import loras_of


@dataclass(frozen=True)
class LateTokens:
    """The first of ``tokens`` are those of ``requests``, and in host memory after ``event``."""

    requests: Sequence[Request]
    tokens: Tensor
    event: Event
    is_late: bool = True

    def wait(self) -> dict[Request, SampledToken]:
        """See ``Flight``."""
        self.event.wait()
        tokens = self.tokens[: len(self.requests)].tolist()
        return dict(zip(self.requests, map(SampledToken, tokens), strict=True))


class GpuRunner:
    """Runs ``decoder`` over ``kv``, whose pages hold ``block_size`` tokens each, on ``device``.

    At most ``max_num_seqs`` requests are in a step, their block tables at most ``max_blocks`` wide. ``compiles`` says
    whether its kernels are compiled when they are first launched.
    """

    def __init__(
        self,
        decoder: Decoder,
        kv: KVCache,
        device: StepDevice,
        *,
        block_size: int,
        max_num_seqs: int,
        max_blocks: int,
        compiles: bool = True,
    ) -> None:
        self.vocab_size, self.hidden_size = decoder.config.vocab_size, decoder.config.hidden_size
        self._decoder, self._kv, self._device = decoder, kv, device
        self._block_size, self._max_blocks, self._compiles = block_size, max_blocks, compiles
        self._capacity = capacity = rows_for(max(max_num_seqs, *DRAFT_STEP_ROWS))
        self._inputs = DecodeInputs(device, capacity, max_blocks, block_size)
        self._sampler = DeviceSampler(device, capacity, decoder.spec)
        self._host_sampler = Sampler(decoder.spec)
        self._pooler = Pooler(decoder.norm)
        self._graphs = DecodeGraphs(decoder, kv, device, self._inputs, self._sampler)
        self._chosen: Sequence[Request] = ()  # those that the last step chose tokens for, if it is late
        self._outputs = [device.host_buffer(capacity, torch.int64) for _ in range(2)]

    @torch.inference_mode()
    def launch(self, scheduled: SchedulerOutput) -> LateTokens | KnownResults:
        """See ``AsyncRunner``."""
        if all_decode(scheduled):
            return self._decode(list(scheduled))
        return self._compute(scheduled)

    def forget_adapters(self) -> None:
        """See ``Runner``."""
        self._device.event().wait()
        self._graphs.forget_adapters()

    @torch.inference_mode()
    def warm_up(self, max_tokens: int, *, adapted: bool = False) -> None:
        """See ``Runner``."""
        loras = loras_of(self._decoder) if adapted else []
        if not self._compiles or (adapted and all(lora.is_compiled for lora in loras)):
            return
        sizes = WarmUp(max_tokens, self._capacity, self._max_blocks, self._block_size, adapted)
        FirstSteps(self._decoder, self._kv, self._sampler, self._device).take(sizes)
        for lora in loras:
            lora.note_compiled()

    def randomize_cache(self) -> None:
        """See ``KVCache.randomize``."""
        self._kv.randomize()

    def _decode(self, requests: Sequence[Request]) -> LateTokens | KnownResults:
        rows = DecodeRows.of(requests)
        sampling = self._sampler.prepare(rows)
        return self._results(self._graphs.run(rows, self._chosen, sampling), requests, rows.count, sampling)

    def _compute(self, scheduled: SchedulerOutput) -> LateTokens | KnownResults:
        """A step of any shape."""
        ending = [request for request, num_tokens in scheduled.items() if chooses_in_step(request, num_tokens)]
        rows = DecodeRows.of(ending)
        sampling = self._sampler.prepare(rows)
        pooled, scored, vectors = pooled_rows(scheduled), scored_rows(scheduled), list[Tensor]()
        batch, pending, places = self._upload(scheduled)

        def step() -> Tensor:
            batch.input_ids.index_copy_(0, pending, self._inputs.chosen[places])
            stream = self._decoder.stream(batch, self._kv)
            vectors.extend(self._pooler.pool(stream, pooled))
            score(stream, scored, self._decoder.head)
            if not ending:
                return stream  # there are no logits, and nobody asks for them
            logits = self._decoder.logits(stream, batch)
            if sampling is not None:
                self._inputs.chosen[: len(ending)].copy_(self._sampler.sample(sampling, logits))
            return logits

        flight = self._results(self._device.run(step), ending, rows.count, sampling)
        ends = prompt_ends(scheduled)
        if scored or ends or any(part.ends for part in pooled):
            return KnownResults({**flight.wait(), **pooled_vectors(pooled, vectors), **ends})
        return flight

    def _results(
        self, computed: Computed, ending: Sequence[Request], count: int, sampling: SamplingKind | None
    ) -> LateTokens | KnownResults:
        """What was ``computed`` gives for the requests that are ``ending``: in ``count`` rows, with those of drafts."""
        if sampling is None:
            self._device.event().wait()
            logits = computed.result[:count]
            return KnownResults(self._host_sampler.verify(logits, ending, lambda: self._likeliest(logits)))
        self._outputs.reverse()
        tokens = self._outputs[0]
        self._device.copy(tokens, self._inputs.chosen)
        if count == len(ending):
            self._chosen = ending
            return LateTokens(ending, tokens, self._device.event())
        self._device.event().wait()
        return KnownResults(accept(tokens[:count].tolist(), ending))

    def _likeliest(self, logits: Tensor) -> list[int]:
        return self._sampler.sample(GREEDY, logits).tolist()

    def _upload(self, scheduled: SchedulerOutput) -> tuple[ForwardBatch, Tensor, Tensor]:
        """The step's batch, which of its tokens the host does not know, and the places of those tokens."""
        rows = lay_out(scheduled, self._block_size)
        places = {request: place for place, request in enumerate(self._chosen)}
        pending = [
            (end - 1, places[request])
            for (request, num_tokens), end in zip(scheduled.items(), rows.cu_seqlens_q[1:], strict=True)
            if request.token_ids[-1] == PENDING and ends_in_step(request, num_tokens)
        ]
        batch = rows.batch(torch.device("cpu"))
        tensors = {name: value for name, value in vars(batch).items() if isinstance(value, Tensor)}
        tensors["pending"], tensors["places"] = torch.tensor(pending, dtype=torch.int64).view(-1, 2).unbind(1)
        uploaded = self._copied(tensors)
        pending_rows, pending_places = uploaded.pop("pending"), uploaded.pop("places")
        return replace(batch, **uploaded), pending_rows, pending_places

    def _copied(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``tensors`` of int64 on the device, by one copy.

        Each begins at a multiple of 16 bytes, for kernels are compiled once for such places and once for others.
        """
        rooms = [tensor.numel() + tensor.numel() % 2 for tensor in tensors.values()]
        host = self._device.host_buffer(sum(rooms), torch.int64)
        for room, tensor in zip(host.split(rooms), tensors.values(), strict=True):
            room[: tensor.numel()] = tensor.flatten()
        words = torch.empty(sum(rooms), dtype=torch.int64, device=self._device.device)
        self._device.copy(words, host)
        parts = zip(tensors.items(), words.split(rooms), strict=True)
        return {name: part[: tensor.numel()].view(tensor.shape) for (name, tensor), part in parts}
