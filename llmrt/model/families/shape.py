"""The fields that every config.json has in some spelling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmrt.errors import CheckpointError
from llmrt.model.config import ModelConfig
from llmrt.model.families.rope_fields import read_rope
from llmrt.model.fields import Fields

DTYPES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}


def read_shape(fields: Fields, family: str, spelled: Mapping[str, str] | None = None, **changes: Any) -> ModelConfig:
    """What ``fields`` say under Llama's names for them, or as they are ``spelled``; ``changes`` are known otherwise.

    Defaults are those of transformers' LlamaConfig.
    """

    def named(name: str) -> str:
        return (spelled or {}).get(name, name)

    hidden_size, num_heads = fields.size(named("hidden_size")), fields.count(named("num_attention_heads"))
    context_length = fields.size(named("max_position_embeddings"), 2048)
    num_kv_heads = changes.pop("num_kv_heads", None) or fields.size(named("num_key_value_heads"), num_heads)
    if num_heads % num_kv_heads:
        raise CheckpointError(
            f"{fields.where}: {named('num_attention_heads')} {num_heads} is not a multiple of"
            f" {named('num_key_value_heads')} {num_kv_heads}."
        )
    head_dim = changes.pop("head_dim", None) or fields.size("head_dim", max(1, hidden_size // num_heads))
    common: dict[str, Any] = {
        "family": family,
        "hidden_size": hidden_size,
        "num_heads": num_heads,
        "num_kv_heads": num_kv_heads,
        "head_dim": head_dim,
        "vocab_size": fields.size("vocab_size"),
        "num_layers": fields.count(named("num_hidden_layers")),
        "intermediate_size": changes.get("intermediate_size") or fields.size(named("intermediate_size")),
        "norm_eps": fields.not_negative(named("rms_norm_eps"), 1e-6),
        "context_length": max(context_length, fields.size("max_sequence_length", context_length)),
        "rope": changes.get("rope") or read_rope(fields, context_length, head_dim),
        "activation": read_activation(fields, named("hidden_act")),
        "tied_embeddings": fields.get("tie_word_embeddings", bool, False),
        "dtype": _dtype(fields),
    }
    return ModelConfig(**(common | changes))


def read_activation(fields: Fields, name: str, default: str = "silu") -> str:
    """The activation that the field ``name`` says. Raises ``CheckpointError`` for one that is not known."""
    found = fields.get(name, str, default)
    if found not in ACTIVATIONS:
        raise CheckpointError(f"{fields.where}: {name} is {found!r}; known are {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[found]


def _dtype(fields: Fields) -> str:
    name = fields.get("dtype", str, fields.get("torch_dtype", str, "float32"))
    if name not in DTYPES:
        raise CheckpointError(f"{fields.where}: torch_dtype is {name!r}; known are {', '.join(DTYPES)}.")
    return DTYPES[name]


def refuse_true(fields: Fields, *names: str) -> None:
    """Raise ``CheckpointError`` for a switch of ``names`` that is on: what it turns on is not supported."""
    for name in names:
        if fields.get(name, bool, False):
            raise CheckpointError(f"{fields.where}: {name} is true, which is not supported.")


def refuse_false(fields: Fields, *names: str) -> None:
    """The same for a switch that is off."""
    for name in names:
        if not fields.get(name, bool, True):
            raise CheckpointError(f"{fields.where}: {name} is false, which is not supported.")
