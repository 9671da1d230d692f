"""Falcon: one key/value head or few, attention and MLP side by side."""

from __future__ import annotations

from dataclasses import replace

from llmrt.errors import CheckpointError
from llmrt.model.config import ModelConfig
from llmrt.model.families.family import Family, TensorNames
from llmrt.model.families.shape import read_activation, read_shape
from llmrt.model.fields import Fields

NAMES = TensorNames(
    embedding="transformer.word_embeddings",
    final_norm="transformer.ln_f",
    layer="transformer.h.{i}.",
    q="self_attention.query_key_value[q]",
    k="self_attention.query_key_value[k]",
    v="self_attention.query_key_value[v]",
    qkv_by_kv_head=True,
    attention_output="self_attention.dense",
    up="mlp.dense_h_to_4h",
    down="mlp.dense_4h_to_h",
)


def read_falcon(fields: Fields) -> ModelConfig:
    """Falcon 7B and its like: what attention and MLP read is one norm of the stream."""
    for name, wanted in (("alibi", False), ("new_decoder_architecture", False), ("parallel_attn", True)):
        if fields.get(name, bool, wanted) != wanted:
            raise CheckpointError(f"{fields.where}: {name} is {not wanted}; of Falcons the 7B's form is supported.")
    num_heads, hidden_size = fields.size("num_attention_heads"), fields.size("hidden_size")
    bias = fields.get("bias", bool, False)
    config = read_shape(
        fields,
        "falcon",
        {"rms_norm_eps": "layer_norm_epsilon"},
        num_kv_heads=1 if fields.get("multi_query", bool, True) else num_heads,
        intermediate_size=fields.size("ffn_hidden_size", 4 * hidden_size),
        activation=read_activation(fields, "activation", "gelu"),
        layer_norm=True,
        parallel_residual=True,
        shared_norm=True,
        gated_mlp=False,
        qkv_bias=bias,
        attention_output_bias=bias,
        mlp_bias=bias,
    )
    return replace(config, tied_embeddings=fields.get("tie_word_embeddings", bool, True))


FALCON = Family(("falcon",), read_falcon, NAMES)
