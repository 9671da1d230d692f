"""Families that are a Llama but for a norm, a bias or a factor."""

from __future__ import annotations

from typing import Any

from llmrt.model.config import ModelConfig
from llmrt.model.families.family import Family, TensorNames
from llmrt.model.families.shape import read_activation, read_shape, refuse_true
from llmrt.model.fields import Fields

STARCODER2_NAMES = TensorNames(up="mlp.c_fc", down="mlp.c_proj")
OLMO2_NAMES = TensorNames(attention_post_norm="post_attention_layernorm")
INTERNLM2_NAMES = TensorNames(
    embedding="model.tok_embeddings",
    lm_head="output",
    attention_norm="attention_norm",
    q="attention.wqkv[q]",
    k="attention.wqkv[k]",
    v="attention.wqkv[v]",
    qkv_by_kv_head=True,
    attention_output="attention.wo",
    mlp_norm="ffn_norm",
    gate="feed_forward.w1",
    up="feed_forward.w3",
    down="feed_forward.w2",
)


def read_stablelm(fields: Fields) -> ModelConfig:
    """LayerNorm, and a part of each head rotated."""
    refuse_true(fields, "qk_layernorm")
    parallel = fields.get("use_parallel_residual", bool, False)
    return read_shape(
        fields,
        "stablelm",
        {"rms_norm_eps": "layer_norm_eps"},
        layer_norm=True,
        parallel_residual=parallel,
        shared_norm=parallel,
        qkv_bias=fields.get("use_qkv_bias", bool, False),
    )


def read_starcoder2(fields: Fields) -> ModelConfig:
    """LayerNorm, biases everywhere, an MLP without a gate."""
    bias = fields.get("use_bias", bool, True)
    return read_shape(
        fields,
        "starcoder2",
        {"rms_norm_eps": "norm_epsilon"},
        sliding_window=fields.size_or_none("sliding_window"),
        layer_norm=True,
        gated_mlp=False,
        activation=read_activation(fields, "hidden_act", "gelu_pytorch_tanh"),
        qkv_bias=bias,
        attention_output_bias=bias,
        mlp_bias=bias,
        tied_embeddings=fields.get("tie_word_embeddings", bool, True),
    )


def read_olmo2(fields: Fields) -> ModelConfig:
    """Norms after attention and MLP instead of before them, and of queries and keys over all heads."""
    bias = fields.get("attention_bias", bool, False)
    norms: dict[str, Any] = {"pre_norms": False, "post_norms": True, "qk_norm": True, "qk_norm_of_rows": True}
    return read_shape(fields, "olmo2", qkv_bias=bias, attention_output_bias=bias, **norms)


def read_granite(fields: Fields) -> ModelConfig:
    """A Llama whose embeddings, scores, sums and logits are multiplied by factors."""
    bias = fields.get("attention_bias", bool, False)
    return read_shape(
        fields,
        "granite",
        qkv_bias=bias,
        attention_output_bias=bias,
        mlp_bias=fields.get("mlp_bias", bool, False),
        embedding_scale=fields.get("embedding_multiplier", float, 1.0),
        attention_scale=fields.get("attention_multiplier", float, 1.0),
        residual_scale=fields.get("residual_multiplier", float, 1.0),
        logits_scale=1 / fields.positive("logits_scaling", 1.0),
    )


def read_internlm2(fields: Fields) -> ModelConfig:
    """A Llama with other names and fused queries, keys and values."""
    bias = fields.get("bias", bool, False)
    return read_shape(fields, "internlm2", qkv_bias=bias, attention_output_bias=bias)


STABLELM = Family(("stablelm",), read_stablelm)
STARCODER2 = Family(("starcoder2",), read_starcoder2, STARCODER2_NAMES)
OLMO2 = Family(("olmo2",), read_olmo2, OLMO2_NAMES)
GRANITE = Family(("granite",), read_granite)
INTERNLM2 = Family(("internlm2",), read_internlm2, INTERNLM2_NAMES)
