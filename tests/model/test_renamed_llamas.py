"""The many models that are Llamas by another name, each with what its config.json says differently."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

import pytest

from llmrt.model.checkpoints.tensor_slots import num_parameters
from llmrt.model.config import LinearScaling, ModelConfig
from llmrt.model.families.registry import read_model_config
from llmrt.model.fields import Fields

SEVEN = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "intermediate_size": 11008}
# A config.json of 2023: no key/value heads, no RoPE fields, and a padding token that is none.
OLD = {**SEVEN, "hidden_act": "silu", "rms_norm_eps": 1e-6, "pad_token_id": -1, "torch_dtype": "float16"}

# The fields, what they must become, and billions of parameters as the models' pages count them.
MODELS: dict[str, tuple[dict[str, Any], dict[str, Any], float]] = {
    "alpaca": ({**OLD, "vocab_size": 32001, "max_sequence_length": 2048}, {"context_length": 2048}, 6.74),
    "koala": ({**OLD, "vocab_size": 32000, "max_sequence_length": 2048, "pad_token_id": 0}, {"num_kv_heads": 32}, 6.74),
    "vicuna-16k": (
        {
            **OLD,
            "vocab_size": 32000,
            "max_position_embeddings": 4096,
            "max_sequence_length": 16384,
            "rope_scaling": {"type": "linear", "factor": 4.0},
        },
        {"context_length": 16384, "scaling": LinearScaling(4.0)},
        6.74,
    ),
    "code-llama": (
        {**SEVEN, "vocab_size": 32016, "rope_theta": 1000000, "max_position_embeddings": 16384, "rope_scaling": None},
        {"theta": 1e6, "context_length": 16384, "scaling": None},
        6.74,
    ),
    "deepseek-coder": (
        {
            **SEVEN,
            "vocab_size": 32256,
            "max_position_embeddings": 16384,
            "rope_scaling": {"type": "linear", "factor": 4.0},
            "rope_theta": 100000,
            "num_key_value_heads": 32,
        },
        {"theta": 1e5, "context_length": 16384, "scaling": LinearScaling(4.0)},
        6.74,
    ),
    "yi-34b": (
        {
            "hidden_size": 7168,
            "num_hidden_layers": 60,
            "num_attention_heads": 56,
            "num_key_value_heads": 8,
            "intermediate_size": 20480,
            "vocab_size": 64000,
            "rope_theta": 5000000.0,
            "max_position_embeddings": 4096,
        },
        {"theta": 5e6, "num_kv_heads": 8, "head_dim": 128},
        34.4,
    ),
    "goliath-120b": (
        {
            "hidden_size": 8192,
            "num_hidden_layers": 137,
            "num_attention_heads": 64,
            "num_key_value_heads": 8,
            "intermediate_size": 28672,
            "vocab_size": 32000,
            "max_position_embeddings": 4096,
        },
        {"num_layers": 137, "head_dim": 128},
        117.7,
    ),
    "tinyllama": (
        {
            "hidden_size": 2048,
            "num_hidden_layers": 22,
            "num_attention_heads": 32,
            "num_key_value_heads": 4,
            "intermediate_size": 5632,
            "vocab_size": 32000,
            "max_position_embeddings": 2048,
            "pretraining_tp": 1,
        },
        {"head_dim": 64, "num_kv_heads": 4},
        1.10,
    ),
    "calm2": (
        {**SEVEN, "vocab_size": 65024, "rope_theta": 500000, "max_position_embeddings": 32768},
        {"theta": 5e5, "context_length": 32768},
        7.01,
    ),
    "elyza-fast": ({**SEVEN, "vocab_size": 45043, "max_position_embeddings": 4096}, {"vocab_size": 45043}, 6.85),
    "youri": ({**SEVEN, "vocab_size": 32000, "max_position_embeddings": 4096, "pad_token_id": None}, {}, 6.74),
}


# What a Llama does as every decoder does unless its family says otherwise.
USUAL = {f.name: f.default for f in fields(ModelConfig) if f.default is not MISSING and f.name not in ("rope", "dtype")}


def facts(config: ModelConfig) -> dict[str, Any]:
    return {**vars(config), "theta": config.rope.theta, "scaling": config.rope.scaling}


@pytest.mark.parametrize("name", MODELS)
def test_a_llama_by_another_name_reads_as_it_is(name: str) -> None:
    said, expected, billions = MODELS[name]
    config = read_model_config(Fields({"model_type": "llama", **said}, name))
    found = facts(config)
    assert {key: found[key] for key in expected} == expected
    assert num_parameters(config) / 1e9 == pytest.approx(billions, rel=5e-3)
    assert {key: found[key] for key in USUAL} == USUAL
