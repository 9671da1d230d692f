"""Whether decode steps that are recorded give what their kernels give one by one, to the last bit."""

from __future__ import annotations

from benchmarks.on_gpu.batches import all_answers, prompts_for
from benchmarks.on_gpu.models import MISTRAL, engine_of, record_anew
from benchmarks.on_gpu.sections import Rows
from llmrt.model.config import ModelConfig


def mistral_int4() -> Rows:
    yield from measured(MISTRAL, "int4")


def mistral_bf16() -> Rows:
    yield from measured(MISTRAL, "none")


def measured(shape: ModelConfig, quant: str) -> Rows:
    """Tokens and log-probabilities of requests side by side, by graphs and without."""
    engine = engine_of(shape, quant)
    prompts = prompts_for(engine)
    by_graphs = all_answers(engine, prompts)
    record_anew(engine, graphs=False)
    try:
        one_by_one = all_answers(engine, prompts)
    finally:
        record_anew(engine)
    yield "same", by_graphs == one_by_one
    yield "tokens", sum(map(len, by_graphs.values()))
