"""Steps like those that serving will take, before it begins: kernels are compiled then, and no request waits for one.

Kernels have forms for ranges of numbers: of tokens, requests, new tokens beside an answer, blocks in a table. Where one
ends is the kernels' affair; powers of two, and for tokens what is one less, meet each of them. All tokens are the first
of the vocabulary, at slot 0 of the null block.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, product

import torch
from torch import Tensor

from llmrt.engine.kv.block_pool import NULL_BLOCK
from llmrt.engine.kv.manager import blocks_for
from llmrt.engine.runners.device import StepDevice
from llmrt.engine.runners.device_sampler import GREEDY, DeviceSampler, SamplingKind
from llmrt.model.forward_batch import ForwardBatch
from llmrt.model.kv_cache import KVCache
from llmrt.model.modules.decoder import Decoder

KINDS = (GREEDY, *(SamplingKind(True, *filters) for filters in product((False, True), repeat=2)))
MOST_BESIDE = 64  # new tokens of a prompt up to which attention looks at how many they are


@dataclass(frozen=True)
class WarmUp:
    """For steps of up to ``max_tokens``, up to ``max_rows`` that decode, and block tables of up to ``max_blocks``.

    A step may have more tokens than a request has room for: those of several prompts. ``adapted`` steps, in which some
    request has an adapter, come after others.
    """

    max_tokens: int
    max_rows: int
    max_blocks: int
    block_size: int
    adapted: bool

    def batches(self, device: torch.device) -> Iterator[ForwardBatch]:
        """Prompts, short ones beside an answer or behind a long text, and answers, the most in the end."""
        for count in {max(1, count - less) for count in _up_to(self.max_tokens) for less in (0, 1)}:
            prompts = self._prompts(count)
            yield self._batch(prompts, blocks_for(prompts[0], self.block_size), device)
        if not self.adapted:
            yield from self._short_prompts(device)
        for count in _up_to(self.max_rows):
            yield self._batch([1] * count, self.max_blocks, device)

    def _short_prompts(self, device: torch.device) -> Iterator[ForwardBatch]:
        """They differ from others of as many tokens for attention alone, which is the same for adapters."""
        widths = {min(blocks_for(MOST_BESIDE, self.block_size), self.max_blocks), self.max_blocks}
        for count, width in product(_up_to(min(self.max_tokens, self._longest, MOST_BESIDE)), widths):
            yield self._batch([1, count], width, device)
            yield self._batch([count], width, device)  # behind what the cache has of a conversation

    @property
    def _longest(self) -> int:
        """Tokens that a request has room for."""
        return self.max_blocks * self.block_size

    def _prompts(self, count: int) -> list[int]:
        """So many tokens in as few prompts as they fit in, the longest first."""
        full, rest = divmod(count, self._longest)
        return [self._longest] * full + [rest] * (rest > 0)

    def _batch(self, new_tokens: Sequence[int], width: int, device: torch.device) -> ForwardBatch:
        def tensor(values: Sequence[int]) -> torch.Tensor:
            return torch.tensor(values, dtype=torch.int64, device=device)

        ends = [*accumulate(new_tokens)]
        zeros = torch.zeros(ends[-1], dtype=torch.int64, device=device)
        return ForwardBatch(
            input_ids=zeros,
            positions=zeros,
            slot_mapping=zeros,
            cu_seqlens_q=tensor([0, *ends]),
            seq_lens=tensor(new_tokens),
            block_table=torch.zeros(len(new_tokens), width, dtype=torch.int64, device=device),
            max_query_len=max(new_tokens),
            logits_index=tensor([end - 1 for end in ends]),
            adapters=zeros if self.adapted else None,
        )


@dataclass(frozen=True)
class FirstSteps:
    """Steps of ``decoder`` on ``device``, from whose logits ``sampler`` chooses in every way."""

    decoder: Decoder
    kv: KVCache
    sampler: DeviceSampler
    device: StepDevice

    def take(self, sizes: WarmUp) -> None:
        """All kernels are compiled side by side before the first step, and are on the device after the last."""
        for tensor in self.kv.tensors:
            self.device.run(tensor[NULL_BLOCK].view(torch.uint8).zero_)  # what is read there must be numbers
        self.device.compile(partial(self._run, sizes, self._sketch))
        self._run(sizes, partial(self.decoder, kv=self.kv))
        self.device.event().wait()

    def _run(self, sizes: WarmUp, logits: Callable[[ForwardBatch], Tensor]) -> None:
        steps = (self.device.run(partial(logits, batch)) for batch in sizes.batches(self.device.device))
        computed = deque(steps, maxlen=1).pop()
        for kind in KINDS:
            self.device.run(lambda kind=kind: self.sampler.sample(kind, computed.result))

    def _sketch(self, batch: ForwardBatch) -> Tensor:
        """Through the layers of nearly all kinds that a model has: what others launch is compiled by their step."""
        stream, count = self.decoder.embed(batch), len(self.decoder.layers)
        for i in sorted({*range(min(8, count)), count // 2, count - 1}):
            stream = self.decoder.layers[i](stream, batch, self.decoder.rotations.of(i), self.kv.layers[i])
        return self.decoder.logits(stream, batch)


def _up_to(most: int) -> list[int]:
    """Powers of two below ``most``, and that."""
    return [*(1 << i for i in range((most - 1).bit_length())), most]
