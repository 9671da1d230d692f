"""Falcon: one key/value head or few, attention and MLP side by side; RW, its first, with ALiBi and in turn."""

from __future__ import annotations

from dataclasses import replace

from llmrt.model.config import ModelConfig, RopeConfig
from llmrt.model.families.alibi import alibi_slopes
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
    parallel_norms=("ln_attn", "ln_mlp"),
    up="mlp.dense_h_to_4h",
    down="mlp.dense_4h_to_h",
)


def read_falcon(fields: Fields) -> ModelConfig:
    """What attention and MLP read side by side is one norm of the stream, or two in the 40B and the 180B."""
    num_heads, hidden_size = fields.count("num_attention_heads"), fields.size("hidden_size")
    new = fields.get("new_decoder_architecture", bool, False)
    parallel = new or fields.get("parallel_attn", bool, True)
    bias = fields.get("bias", bool, False)
    config = read_shape(
        fields,
        "falcon",
        {"rms_norm_eps": "layer_norm_epsilon"},
        num_kv_heads=_num_kv_heads(fields, num_heads, new=new),
        intermediate_size=fields.size("ffn_hidden_size", 4 * hidden_size),
        activation=read_activation(fields, "activation", "gelu"),
        layer_norm=True,
        parallel_residual=parallel,
        shared_norm=parallel and (fields.size("num_ln_in_parallel_attn", 2 if new else 1) == 1),
        gated_mlp=False,
        qkv_bias=bias,
        attention_output_bias=bias,
        mlp_bias=bias,
    )
    if fields.get("alibi", bool, False):
        slopes = alibi_slopes(num_heads, factor=config.head_dim**-0.5)
        config = replace(config, rope=RopeConfig(rotary_dim=0), alibi_slopes=slopes)
    return replace(config, tied_embeddings=fields.get("tie_word_embeddings", bool, True))


def _num_kv_heads(fields: Fields, num_heads: int, *, new: bool) -> int:
    if new:
        return fields.size("num_kv_heads", num_heads)
    return 1 if fields.get("multi_query", bool, True) else num_heads


FALCON = Family(("falcon",), read_falcon, NAMES)
