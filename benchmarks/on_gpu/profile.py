"""Where the time of a decode step goes, kernel by kernel."""

from __future__ import annotations

import random

from torch.profiler import ProfilerActivity
from torch.profiler import profile as torch_profile

from benchmarks.on_gpu.engine import Bar
from benchmarks.on_gpu.models import MISTRAL, engine_of
from benchmarks.on_gpu.sections import Rows
from llmrt.cli.measure import Workload, run_once
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.request import SamplingParams
from llmrt.model.config import ModelConfig

STEPS = 16


def mistral_int4() -> Rows:
    yield from profiled(MISTRAL, "int4")


def mistral_bf16() -> Rows:
    yield from profiled(MISTRAL, "none")


def profiled(shape: ModelConfig, quant: str) -> Rows:
    """The kernels of a step of one request behind 512 tokens, those that take most first."""
    engine = engine_of(shape, quant)
    run_once(engine, Workload(512, 4), random.Random(0), Bar())
    engine.add("profiled", [1] * 512, SamplingParams(temperature=0, max_tokens=STEPS + 8))
    for _ in range(4):
        engine.step()
    yield from _kernels(engine)


def _kernels(engine: LLMEngine) -> Rows:
    with torch_profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(STEPS):
            engine.step()
    while engine.has_work:
        engine.step()
    events = sorted(profiler.key_averages(), key=lambda event: -event.self_device_time_total)
    for rank, event in enumerate(events[:16], 1):
        times = {"us_per_step": event.self_device_time_total / STEPS, "launches_per_step": event.count / STEPS}
        yield f"{rank}: {event.key[:76]}", {name: round(value, 2) for name, value in times.items()}
