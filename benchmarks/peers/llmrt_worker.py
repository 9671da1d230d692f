"""llmrt as a worker process: the same questions and answers as ``llama_cpp_worker.py``.

load     shape, context (tokens of a sequence), sequences, threads, quant (stored: of the GGUF file), kv (auto, fp16 or
         another), file (what llama.cpp is given)
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.answering import answer
from benchmarks.peers.client import commit
from benchmarks.peers.shapes import SHAPES
from llmrt import __version__
from llmrt.cli.bench_target import named_target
from llmrt.cli.loading import load_engine
from llmrt.cli.measure import Workload, run_once
from llmrt.cli.progress import Bar
from llmrt.config import STORED, EngineConfig
from llmrt.engine.llm_engine import LLMEngine
from llmrt.model.checkpoints.gguf.headers import GgufHeaders
from llmrt.model.checkpoints.kept import kept_schemes
from llmrt.model.checkpoints.tensor_slots import Slot, tensor_slots
from llmrt.model.config import ModelConfig
from llmrt.model.families.family import TensorNames
from llmrt.quant.recipe import EXPERT_ROLES, RECIPES
from llmrt.quant.scheme import QuantScheme

ROOT = Path(__file__).parents[2]
SILENT = Bar(begin=lambda total: None, advance=lambda count: None)


@dataclass
class Worker:
    """One loaded model at a time."""

    engine: LLMEngine | None = None

    def info(self) -> dict[str, Any]:
        """What is running."""
        from llmrt.ops.rules import native_library

        library = native_library()
        return {
            "engine": "llmrt",
            "version": __version__,
            "commit": commit(),
            "isa": library.isa if library else "torch",
        }

    def load(
        self, shape: str, context: int, sequences: int, threads: int, quant: str, kv: str, file: str = ""
    ) -> dict[str, Any]:
        """Build the engine with the weights of the file, of the alias, or random ones in its shape."""
        wanted = SHAPES[shape]
        config = EngineConfig(
            context_length=context,
            threads=threads,
            max_num_seqs=sequences,
            quant=quant,
            kv_dtype=kv,
            prefix_caching=False,
        )
        import llmrt.engine.loading.build  # noqa: F401 - torch is not part of what is timed

        start = time.perf_counter()
        if quant == STORED:
            from llmrt.engine.loading.load_model import open_model

            self.engine = load_engine(lambda: open_model(Path(file)), config)
        elif wanted.real:
            self.engine = load_engine(named_target(wanted.alias, None).open_model, config)
        else:
            from llmrt.model.checkpoints.random_checkpoint import RandomCheckpoint

            self.engine = load_engine(lambda: RandomCheckpoint(wanted.config), config)
        seconds = time.perf_counter() - start
        kv_dtype = self.engine.config.kv_dtype
        return {"seconds": seconds, "read_bytes": _read_bytes(wanted.config, quant, Path(file)), "kv": kv_dtype}

    def unload(self) -> dict[str, Any]:
        """Free it."""
        self.engine = None
        return {}

    def measure(self, prompt: int, gen: int, depth: int, batch: int) -> dict[str, Any]:
        """Rates in tokens a second over all requests; None where there is nothing to time."""
        assert self.engine is not None
        workload = Workload(prompt, gen, depth, batch)
        run = run_once(self.engine, workload, random.Random(), SILENT)
        return {"prefill_rate": run.prefill_rate, "decode_rate": run.decode_rate}


def _read_bytes(config: ModelConfig, quant: str, file: Path) -> int:
    if quant == STORED:
        headers = GgufHeaders(file)
        slots = tensor_slots(headers.config, headers.names)
        return read_bytes(config, slots, kept_schemes(headers.inventory, slots, "cpu"))
    slots, recipe = tensor_slots(config, TensorNames()), RECIPES.get(quant)
    schemes = {name: recipe.scheme(slot.role) for name, slot in slots.items() if recipe and slot.role}
    return read_bytes(config, slots, {name: scheme for name, scheme in schemes.items() if scheme})


def read_bytes(config: ModelConfig, slots: Mapping[str, Slot], schemes: Mapping[str, QuantScheme]) -> int:
    """Bytes of weights that one decoded token reads: the chosen experts, and the embedding table as the head alone."""
    total = 0.0
    for name, slot in slots.items():
        if slot.role == "embedding" and not config.tied_embeddings:
            continue
        num_bytes = math.prod(slot.shape) * (schemes[name].bits_per_weight / 8 if name in schemes else 2)
        if config.moe is not None and slot.role in EXPERT_ROLES:
            num_bytes *= config.moe.num_active / config.moe.num_experts
        total += num_bytes
    return int(total)


if __name__ == "__main__":
    answer(Worker())
