"""Decode speed with LoRA adapters in the batch beside the same batch without, in one process.

    python -m benchmarks.lora [--json FILE]

Bar: eight requests with an adapter each keep 70 % of the speed of eight without.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks.peers.client import ROOT
from benchmarks.peers.shapes import SHAPES
from benchmarks.provenance import provenance
from llmrt.cli.loading import load_engine
from llmrt.config import EngineConfig
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.request import SamplingParams
from llmrt.engine.threads import usable_cores
from llmrt.model.config import ModelConfig
from llmrt.model.families.family import TensorNames
from llmrt.model.peft_adapter import FILE
from llmrt.model.peft_config import CONFIG
from llmrt.model.random_checkpoint import RandomCheckpoint
from llmrt.model.tensor_slots import tensor_slots

BAR = 0.70
PROMPT = 16
ROLES = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "attention_output": "o_proj"}


def write_adapter(config: ModelConfig, folder: Path, rank: int) -> Path:
    """Random matrices for the products of attention, as peft saves them."""
    folder.mkdir()
    tensors: dict[str, torch.Tensor] = {}
    for name, slot in tensor_slots(config, TensorNames()).items():
        if slot.role in ROLES:
            module = f"base_model.model.{name.removesuffix('.weight')}"
            tensors[f"{module}.lora_A.weight"] = torch.randn(rank, slot.shape[1]) * 0.01
            tensors[f"{module}.lora_B.weight"] = torch.randn(slot.shape[0], rank) * 0.01
    save_file(tensors, folder / FILE)
    fields = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": [*ROLES.values()]}
    (folder / CONFIG).write_text(json.dumps(fields))
    return folder


def decode_rate(engine: LLMEngine, adapters: Sequence[str | None], tokens: int) -> float:
    """Tokens a second of requests that decode side by side, one for each of ``adapters``."""
    params = SamplingParams(temperature=0, max_tokens=tokens + 1)
    for i, adapter in enumerate(adapters):
        engine.add(f"{i}", [7 + i] * PROMPT, params, adapter)
    while engine.scheduler.num_decoding < len(adapters):
        engine.step()
    start, count = time.perf_counter(), 0
    while engine.has_work:
        count += sum(len(output.token_ids) for output in engine.step())
    return count / (time.perf_counter() - start)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Medians of ``repeat`` rounds, each with and without."""
    config = SHAPES[options.shape].config
    names = [f"adapter{i}" for i in range(options.adapters)]
    with tempfile.TemporaryDirectory() as folder:
        settings = EngineConfig(
            context_length=512,
            threads=options.threads,
            max_num_seqs=options.adapters,
            quant=options.quant,
            prefix_caching=False,
            adapters=tuple((n, str(write_adapter(config, Path(folder) / n, options.rank))) for n in names),
        )
        engine = load_engine(lambda: RandomCheckpoint(config), settings)
    batches: dict[str, Sequence[str | None]] = {
        "without": [None] * options.adapters,
        "an_adapter_each": names,
        "one_adapter_for_all": names[:1] * options.adapters,
    }
    for batch in batches.values():
        decode_rate(engine, batch, 4)  # records the steps
    rounds = [
        {name: decode_rate(engine, batch, options.tokens) for name, batch in batches.items()}
        for _ in range(options.repeat)
    ]
    kept = {name: median(each[name] / each["without"] for each in rounds) for name in batches if name != "without"}
    return {"rounds": rounds, "rates": {n: median(each[n] for each in rounds) for n in batches}, "kept": kept}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/lora.json")
    parser.add_argument("--shape", choices=SHAPES, default="1.1b")
    parser.add_argument("--quant", default="int4")
    parser.add_argument("--adapters", type=int, default=8)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--threads", type=int, default=usable_cores())
    options = parser.parse_args()
    found = measure(options)
    rates, kept = found["rates"], found["kept"]
    print(
        f"{options.adapters} requests: {rates['without']:.1f} tok/s without adapters,"
        f" {rates['an_adapter_each']:.1f} with one each ({kept['an_adapter_each']:.0%}, bar {BAR:.0%}),"
        f" {rates['one_adapter_for_all']:.1f} with one for all ({kept['one_adapter_for_all']:.0%})"
    )
    chosen = {name: getattr(options, name) for name in ("shape", "quant", "adapters", "rank", "tokens", "threads")}
    report = {**provenance(), **chosen, "bar": BAR, **found}
    options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
