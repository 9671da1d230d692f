"""Whole models of random weights that are drawn on the device: decode, prefill, depth, and streams side by side."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from benchmarks.on_gpu.limits import copy_bandwidth, matmul_rate
from benchmarks.on_gpu.sections import Rows
from llmrt.cli.measure import Workload, run_once
from llmrt.config import EngineConfig
from llmrt.engine.build import assemble_engine
from llmrt.engine.device import Event
from llmrt.engine.gpu_runner import GpuRunner
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.memory import kv_bytes_per_token
from llmrt.engine.settle import loaded_bytes
from llmrt.model.config import ModelConfig, MoeConfig, RopeConfig
from llmrt.model.headers import AssumedHeaders
from llmrt.model.random_checkpoint import RandomCheckpoint
from llmrt.model.tensor_slots import num_active_parameters

MISTRAL = ModelConfig(
    family="mistral",
    vocab_size=32000,
    hidden_size=4096,
    num_layers=32,
    num_heads=32,
    num_kv_heads=8,
    head_dim=128,
    intermediate_size=14336,
    norm_eps=1e-5,
    context_length=32768,
    rope=RopeConfig(theta=1e6),
)
MIXTRAL = replace(MISTRAL, family="mixtral", moe=MoeConfig(8, 2, MISTRAL.intermediate_size))
DEVICE = "cuda"
CHUNK = 2048
DEPTH = 32768 - 128
STREAMS = (1, 8, 64)


@dataclass
class Bar:
    """Nobody looks."""

    begin: Any = field(default=lambda _: None)
    advance: Any = field(default=lambda _: None)


def mistral_bf16() -> Rows:
    yield from measured(MISTRAL, "none")


def mistral_int8() -> Rows:
    yield from measured(MISTRAL, "int8")


def mistral_int4() -> Rows:
    yield from measured(MISTRAL, "int4")


def mixtral_bf16() -> Rows:
    yield from measured(MIXTRAL, "none")


def mixtral_int8() -> Rows:
    yield from measured(MIXTRAL, "int8")


def mixtral_int4() -> Rows:
    yield from measured(MIXTRAL, "int4")


def measured(shape: ModelConfig, quant: str, **settings: Any) -> Rows:
    """All figures of one model. Raises ``MemoryFitError`` where it does not fit."""
    copy_bandwidth(), matmul_rate()  # while there is memory for that
    engine, load_seconds = random_engine(shape, quant, **settings)
    draw = random.Random(0)
    short = Workload(512, 128)
    run_once(engine, Workload(16, 4), draw, Bar())  # compiles
    yield "load_seconds", round(load_seconds, 2)
    yield "kv_dtype", engine.config.kv_dtype
    for streams in STREAMS:
        workload = replace(short, batch=streams)
        run_once(engine, replace(workload, num_output_tokens=4), draw, Bar())  # records the graph
        yield f"decode_{streams}", _decode(engine, shape, workload, draw)
    yield "decode_at_32k", _decode(engine, shape, Workload(64, 64, depth=DEPTH), draw)
    for length in (512, CHUNK, DEPTH):
        yield f"prefill_{length}", _prefill(engine, shape, length, draw)
    yield "peak_memory_gb", round(torch.cuda.max_memory_allocated() / 1e9, 2)


def random_engine(shape: ModelConfig, quant: str, **settings: Any) -> tuple[LLMEngine, float]:
    """An engine on the device, and the seconds that it took to be there.

    It may fill the device's memory, so what an earlier one had, to which nobody refers any more, is given back first.
    """
    config = EngineConfig(
        device=DEVICE,
        quant=quant,
        max_num_seqs=max(STREAMS),
        max_num_batched_tokens=CHUNK,
        prefix_caching=False,
        **settings,
    )
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    engine = assemble_engine(RandomCheckpoint(shape), config)
    torch.cuda.synchronize()
    return engine, time.perf_counter() - start


def _decode(engine: LLMEngine, shape: ModelConfig, workload: Workload, draw: random.Random) -> dict[str, Any]:
    """Rate, the share of the bandwidth that a step's bytes are read at, and the host's time in a step."""
    with waiting(engine) as waits:
        start = time.perf_counter()
        run = run_once(engine, workload, draw, Bar())
        host = time.perf_counter() - start - sum(waits)
    assert run.decode_rate is not None
    steps_per_second = run.decode_rate / workload.batch
    bytes_read = bytes_of_step(engine, shape, workload)
    return {
        "tokens_per_second": round(run.decode_rate, 1),
        "step_ms": round(1000 / steps_per_second, 3),
        "share_of_copy_bandwidth": round(bytes_read * steps_per_second / copy_bandwidth(), 3),
        "host_ms_per_step": round(1000 * host / len(waits), 3),
    }


def _prefill(engine: LLMEngine, shape: ModelConfig, length: int, draw: random.Random) -> dict[str, Any]:
    """Rate, and the share of the rate of bf16 products that those with its weights alone come to."""
    run_once(engine, Workload(length, 1), draw, Bar())  # compiles
    run = run_once(engine, Workload(length, 1), draw, Bar())
    weights = num_active_parameters(shape) - shape.vocab_size * shape.hidden_size  # the head is for the last token
    return {
        "tokens_per_second": round(run.prefill_rate),
        "share_of_matmul_rate": round(2 * weights * run.prefill_rate / matmul_rate(), 3),
    }


def bytes_of_step(engine: LLMEngine, shape: ModelConfig, workload: Workload) -> float:
    """Weights and keys and values that a decode step reads; of experts those that so many tokens are sent to."""
    config = engine.config
    weights = loaded_bytes(AssumedHeaders(replace(shape, moe=None), config.dtype), config)
    if shape.moe is not None:
        of_all = loaded_bytes(AssumedHeaders(shape, config.dtype), config)
        idle = (1 - shape.moe.num_active / shape.moe.num_experts) ** workload.batch
        expert = (of_all - weights) / (shape.moe.num_experts - 1)
        weights = weights - expert + shape.moe.num_experts * (1 - idle) * expert
    seen = workload.depth + workload.num_prompt_tokens + workload.num_output_tokens / 2
    table = shape.vocab_size * shape.hidden_size * (2 if config.quant == "none" else 1)  # of which rows are read
    return weights - table + workload.batch * seen * kv_bytes_per_token(shape, config.kv_dtype)


@contextmanager
def waiting(engine: LLMEngine) -> Iterator[list[float]]:
    """The seconds of each time that the host waited for the device."""
    runner = engine._runner
    assert isinstance(runner, GpuRunner)
    device, waits = runner._device, list[float]()
    make = device.event
    device.event = lambda: _TimedEvent(make(), waits)  # type: ignore[method-assign]
    try:
        yield waits
    finally:
        device.event = make  # type: ignore[method-assign]


@dataclass
class _TimedEvent:
    event: Event
    waits: list[float]

    def wait(self) -> None:
        start = time.perf_counter()
        self.event.wait()
        self.waits.append(time.perf_counter() - start)
