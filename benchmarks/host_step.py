"""What the host does in a decode step on a GPU, beside a device that computes nothing: no GPU is needed.

    python -m benchmarks.host_step

It schedules, writes what the step reads, hands over a graph, and settles the step before it. The engine waits for
nothing here, so the median time of a step is the host's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import torch
from torch import Tensor

from llmrt.engine.kv.manager import KVCacheManager
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.request import SamplingParams
from llmrt.engine.runners.device import Event, StepDevice, Work
from llmrt.engine.runners.gpu_runner import GpuRunner
from llmrt.engine.scheduler import Scheduler
from llmrt.model.checkpoints.random_checkpoint import RandomCheckpoint
from llmrt.model.config import ModelConfig
from llmrt.model.kv_cache import KVCache
from llmrt.model.loading.random_decoder import random_decoder
from llmrt.ops.types import OpSpec

STREAMS = (1, 8, 64)
PROMPT, STEPS, CONTEXT, BLOCK_SIZE = 500, 600, 32768, 64
SHAPE = ModelConfig(
    family="llama",
    vocab_size=64,
    hidden_size=32,
    num_layers=1,
    num_heads=2,
    num_kv_heads=1,
    head_dim=16,
    intermediate_size=32,
    norm_eps=1e-5,
    context_length=CONTEXT,
)


@dataclass
class Nothing:
    """Work that is never done, and a place in a queue that is reached at once."""

    result: Tensor

    def replay(self) -> None:
        """It stays undone."""

    def wait(self) -> None:
        """There is nothing to wait for."""


class IdleDevice:
    """Takes work and does none of it: every token is ``token_id``, which stands where tokens would be written."""

    def __init__(self, token_id: int = 0) -> None:
        self.device = torch.device("cpu")
        self._token_id = token_id
        self._nothing = Nothing(torch.zeros(0))

    def run(self, work: Work) -> Nothing:
        """See ``StepDevice``."""
        del work
        return self._nothing

    capture = run

    def host_buffer(self, size: int, dtype: torch.dtype) -> Tensor:
        """See ``StepDevice``."""
        return torch.full((size,), self._token_id, dtype=dtype)

    def copy(self, to: Tensor, source: Tensor) -> None:
        """See ``StepDevice``."""
        assert to.shape == source.shape

    def event(self) -> Event:
        """See ``StepDevice``."""
        return self._nothing

    def compile(self, works: Callable[[], object]) -> None:
        """See ``StepDevice``."""


def idle_engine(
    streams: int,
    device: StepDevice | None = None,
    *,
    tokens: int = PROMPT + STEPS,
    vocab_size: int = SHAPE.vocab_size,
) -> LLMEngine:
    """An engine whose device computes nothing, with room for so many ``tokens`` of each stream."""
    shape = replace(SHAPE, vocab_size=vocab_size)
    blocks = streams * (tokens + 3 * BLOCK_SIZE) // BLOCK_SIZE + 2
    kv = KVCacheManager(blocks, BLOCK_SIZE)
    scheduler = Scheduler(kv, max_num_seqs=streams, max_num_batched_tokens=streams * PROMPT, context_length=CONTEXT)
    decoder = random_decoder(RandomCheckpoint(shape), 64, OpSpec("cpu", torch.float32), lambda _: None, None)
    pages = KVCache.allocate(shape, 2, BLOCK_SIZE, torch.float32, torch.device("cpu"))
    runner = GpuRunner(
        decoder,
        pages,
        device or IdleDevice(),
        block_size=BLOCK_SIZE,
        max_num_seqs=streams,
        max_blocks=CONTEXT // BLOCK_SIZE,
    )
    return LLMEngine(scheduler, runner)


def step_seconds(streams: int, params: SamplingParams) -> float:
    """Median seconds of a step of so many requests."""
    engine = idle_engine(streams)
    for i in range(streams):
        # No prefix that others wait for; and in each step another request comes to a new block.
        engine.add(str(i), [i] * (PROMPT + i), params)
    for _ in range(20):
        engine.step()
    seconds: list[float] = []
    for _ in range(STEPS - 40):
        start = time.perf_counter()
        outputs = engine.step()
        seconds.append(time.perf_counter() - start)
        assert len(outputs) == streams
    return median(seconds)


def main() -> None:
    """Print a line for each number of requests and way of choosing."""
    ways = {"greedy": SamplingParams(temperature=0), "drawn": SamplingParams(temperature=0.8, top_p=0.9, seed=1)}
    for streams in STREAMS:
        times = [f"{name} {step_seconds(streams, params) * 1e3:.3f} ms" for name, params in ways.items()]
        print(f"{streams:3} requests: {', '.join(times)} a step")


if __name__ == "__main__":
    main()
