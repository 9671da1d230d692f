"""What LoRA adapters cost where eight requests decode side by side."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.on_gpu.models import MISTRAL, engine_of
from benchmarks.on_gpu.sections import Rows
from benchmarks.random_adapter import compare, write_adapter
from llmrt.model.config import ModelConfig

ADAPTERS, TOKENS, ROUNDS = 8, 96, 3
RANKS = (16, 64)


def mistral_int4() -> Rows:
    yield from measured(MISTRAL, "int4")


def measured(shape: ModelConfig, quant: str) -> Rows:
    """By the adapters' rank, of queries, keys, values and the output of attention."""
    engine = engine_of(shape, quant)
    for rank in RANKS:
        names = [f"{rank}-{i}" for i in range(ADAPTERS)]
        with tempfile.TemporaryDirectory() as folder:
            for name in names:
                engine.load_adapter(name, write_adapter(shape, Path(folder) / name, rank))
        yield f"rank_{rank}", compare(engine, names, TOKENS, ROUNDS)
        for name in names:
            engine.unload_adapter(name)
