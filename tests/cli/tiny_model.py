"""A folder as the hub has them, with a tiny random Llama that speaks ChatML in bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from llmrt.model.checkpoints.config_files import read_config
from llmrt.model.checkpoints.random_checkpoint import RandomCheckpoint
from tests.server.serving import write_model

SHAPE: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 270,
    "hidden_size": 48,
    "intermediate_size": 88,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}


def make_tiny_llama(folder: Path, *, chat: bool = True, **fields: Any) -> Path:
    """Weights, config.json, tokenizer.json and, with ``chat``, a template; ``fields`` of config.json are changed."""
    write_model(folder, chat=chat)
    (folder / "config.json").write_text(json.dumps({**SHAPE, **fields}))
    checkpoint = RandomCheckpoint(read_config(folder))
    scale = 10  # logits far enough apart for greedy answers to be beyond doubt
    weights = {name: checkpoint.load(name).mul(1 if "norm" in name else scale) for name in checkpoint.inventory}
    save_file(weights, folder / "model.safetensors")
    return folder
