"""LoRA adapters of random matrices, and how fast requests with them decode."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from safetensors.torch import save_file

from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.request import SamplingParams
from llmrt.model.adapters.peft_adapter import FILE
from llmrt.model.adapters.peft_config import CONFIG
from llmrt.model.checkpoints.tensor_slots import tensor_slots
from llmrt.model.config import ModelConfig
from llmrt.model.families.family import TensorNames

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
    while len(engine.scheduler.decoding) < len(adapters):
        assert engine.has_work, "so many requests do not fit side by side"
        engine.step()
    start, count = time.perf_counter(), 0
    while engine.has_work:
        count += sum(len(output.token_ids) for output in engine.step())
    return count / (time.perf_counter() - start)


def compare(engine: LLMEngine, adapters: Sequence[str], tokens: int, repeat: int) -> dict[str, Any]:
    """As many requests without adapters, with one each, and with the first for all: medians of ``repeat`` rounds."""
    batches: dict[str, Sequence[str | None]] = {
        "without": [None] * len(adapters),
        "an_adapter_each": adapters,
        "one_adapter_for_all": [adapters[0]] * len(adapters),
    }
    for batch in batches.values():
        decode_rate(engine, batch, 4)  # records the steps
    rounds = [{name: decode_rate(engine, batch, tokens) for name, batch in batches.items()} for _ in range(repeat)]
    kept = {name: median(each[name] / each["without"] for each in rounds) for name in batches if name != "without"}
    return {"rounds": rounds, "rates": {n: median(each[n] for each in rounds) for n in batches}, "kept": kept}
