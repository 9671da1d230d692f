"""Whole models: decode, prefill, depth, and streams side by side."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from benchmarks.on_gpu.limits import copy_bandwidth, matmul_rate
from benchmarks.on_gpu.models import CHUNK, MISTRAL, MIXTRAL, STREAMS, engine_of, release, runner_of
from benchmarks.on_gpu.sections import Rows
from llmrt.cli.measure import Workload, run_once
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.planning.memory import budget_of, kv_bytes_per_token
from llmrt.engine.planning.settle import loaded_bytes
from llmrt.engine.runners.device import Event
from llmrt.model.checkpoints.headers import AssumedHeaders
from llmrt.model.checkpoints.tensor_slots import num_active_parameters
from llmrt.model.config import ModelConfig

DEPTH = 32768 - 128
SHORT = Workload(1, 128, depth=511)  # no prompt is computed, so all steps decode


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


def measured(shape: ModelConfig, quant: str) -> Rows:
    """All figures of one model, those that bars are about first. Raises ``MemoryFitError`` where it does not fit."""
    release()
    copy_bandwidth(), matmul_rate()  # while there is memory for that
    start = time.perf_counter()
    engine, draw = engine_of(shape, quant), random.Random(0)
    yield "load_seconds", round(time.perf_counter() - start, 2)
    yield "kv_dtype", engine.config.kv_dtype
    yield from _decode_of_streams(engine, shape, STREAMS[0], draw)
    run_once(engine, Workload(CHUNK, 1), draw, Bar())  # compiles
    yield f"prefill_{CHUNK}", _prefill(engine, shape, CHUNK, draw)
    yield from _decode_of_streams(engine, shape, STREAMS[-1], draw)
    with _spike(engine, shape) as spike:
        yield "decode_at_32k", _decode(engine, shape, Workload(1, 64, depth=DEPTH), draw)
        yield "prefill_32k", _prefill(engine, shape, DEPTH, draw)
    yield "spike_at_32k", spike
    for streams in STREAMS[1:-1]:
        yield from _decode_of_streams(engine, shape, streams, draw)
    yield "prefill_512", _prefill(engine, shape, 512, draw)
    yield "peak_memory_gb", round(torch.cuda.max_memory_allocated() / 1e9, 2)


def _decode_of_streams(engine: LLMEngine, shape: ModelConfig, streams: int, draw: random.Random) -> Rows:
    workload = replace(SHORT, batch=streams)
    run_once(engine, replace(workload, num_output_tokens=4), draw, Bar())  # records the graph
    yield f"decode_{streams}", _decode(engine, shape, workload, draw)


def _decode(engine: LLMEngine, shape: ModelConfig, workload: Workload, draw: random.Random) -> dict[str, Any]:
    """Rate, the share of the bandwidth that a step's bytes are read at, and the host's time in a step."""
    with waiting(engine) as waits:
        run = run_once(engine, workload, draw, Bar())
    assert run.decode_rate is not None
    steps_per_second = run.decode_rate / workload.batch
    bytes_read = bytes_of_step(engine, shape, workload)
    return {
        "tokens_per_second": round(run.decode_rate, 1),
        "step_ms": round(1000 / steps_per_second, 3),
        "share_of_copy_bandwidth": round(bytes_read * steps_per_second / copy_bandwidth(), 3),
        "host_ms_per_step": round(1000 * (run.seconds - sum(waits)) / len(waits), 3),
    }


def _prefill(engine: LLMEngine, shape: ModelConfig, length: int, draw: random.Random) -> dict[str, Any]:
    """Rate, and the share of the rate of bf16 products that those with its weights alone come to."""
    run = run_once(engine, Workload(length, 1), draw, Bar())
    weights = num_active_parameters(shape) - shape.vocab_size * shape.hidden_size  # the head is for the last token
    return {
        "tokens_per_second": round(run.prefill_rate),
        "share_of_matmul_rate": round(2 * weights * run.prefill_rate / matmul_rate(), 3),
    }


@contextmanager
def _spike(engine: LLMEngine, shape: ModelConfig) -> Iterator[dict[str, float]]:
    """What steps need beside what is there, and the share that it is of what the memory plan has for them."""
    torch.cuda.reset_peak_memory_stats()
    before, spike = torch.cuda.memory_allocated(), dict[str, float]()
    yield spike
    needed = torch.cuda.max_memory_allocated() - before
    workspace = budget_of(shape, engine.config, 0).workspace
    spike |= {"gb": round(needed / 1e9, 3), "share_of_plan": round(needed / workspace, 3)}


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
    device, waits = runner_of(engine)._device, list[float]()
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
