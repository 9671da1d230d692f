"""GPT-NeoX (Pythia too), GPT-J, GPT-Neo and GPT-2: LayerNorm, biases, MLPs without a gate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llmrt.model.config import ModelConfig, RopeConfig
from llmrt.model.families.family import Family, TensorNames
from llmrt.model.families.layers import layers_of_kind
from llmrt.model.families.rope_fields import read_rope
from llmrt.model.families.shape import read_activation, read_shape, refuse_true
from llmrt.model.fields import Fields

NEOX_NAMES = TensorNames(
    embedding="gpt_neox.embed_in",
    final_norm="gpt_neox.final_layer_norm",
    lm_head="embed_out",
    layer="gpt_neox.layers.{i}.",
    q="attention.query_key_value[q]",
    k="attention.query_key_value[k]",
    v="attention.query_key_value[v]",
    qkv_by_kv_head=True,
    attention_output="attention.dense",
    up="mlp.dense_h_to_4h",
    down="mlp.dense_4h_to_h",
)
GPTJ_NAMES = TensorNames(
    embedding="transformer.wte",
    final_norm="transformer.ln_f",
    layer="transformer.h.{i}.",
    attention_norm="ln_1",
    q="attn.q_proj",
    k="attn.k_proj",
    v="attn.v_proj",
    attention_output="attn.out_proj",
    up="mlp.fc_in",
    down="mlp.fc_out",
    interleaved_rope=True,
)
GPT2_NAMES = TensorNames(
    embedding="transformer.wte",
    positions="transformer.wpe",
    final_norm="transformer.ln_f",
    layer="transformer.h.{i}.",
    attention_norm="ln_1",
    q="attn.c_attn[q]",
    k="attn.c_attn[k]",
    v="attn.c_attn[v]",
    attention_output="attn.c_proj[whole]",
    mlp_norm="ln_2",
    up="mlp.c_fc[whole]",
    down="mlp.c_proj[whole]",
    transposed=True,
)
GPT_NEO_NAMES = replace(
    GPT2_NAMES,
    q="attn.attention.q_proj",
    k="attn.attention.k_proj",
    v="attn.attention.v_proj",
    attention_output="attn.attention.out_proj",
    up="mlp.c_fc",
    down="mlp.c_proj",
    transposed=False,
)
_GPT_NEO_FIELDS = {
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "rms_norm_eps": "layer_norm_epsilon",
}
_GPT2_FIELDS = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "intermediate_size": "n_inner",
    "max_position_embeddings": "n_positions",
    "rms_norm_eps": "layer_norm_epsilon",
}


def read_neox(fields: Fields) -> ModelConfig:
    """Attention and MLP read the stream side by side, each after its own norm, as a rule."""
    bias = fields.get("attention_bias", bool, True)
    head_dim = max(1, fields.size("hidden_size") // fields.size("num_attention_heads"))
    context_length = fields.size("max_position_embeddings", 2048)
    rotated: dict[str, Any] = {"rotated": "rotary_pct", "default_rotated": 0.25}
    return _read(
        fields,
        "gpt_neox",
        {"rms_norm_eps": "layer_norm_eps"},
        rope=read_rope(fields, context_length, head_dim, theta="rotary_emb_base", **rotated),
        activation=read_activation(fields, "hidden_act", "gelu"),
        parallel_residual=fields.get("use_parallel_residual", bool, True),
        qkv_bias=bias,
        attention_output_bias=bias,
    )


def read_gptj(fields: Fields) -> ModelConfig:
    """Attention and MLP read the same norm of the stream; neighbouring dimensions are rotated."""
    rotary_dim = fields.size("rotary_dim", 64)
    return _read_gpt2_fields(
        fields,
        "gptj",
        rope=RopeConfig(rotary_dim=rotary_dim),
        parallel_residual=True,
        shared_norm=True,
        lm_head_bias=True,
        tied_embeddings=fields.get("tie_word_embeddings", bool, False),
    )


def read_gpt2(fields: Fields) -> ModelConfig:
    """Positions have vectors of their own instead of rotations."""
    refuse_true(fields, "scale_attn_by_inverse_layer_idx", "add_cross_attention")
    return _read_gpt2_fields(
        fields,
        "gpt2",
        rope=RopeConfig(rotary_dim=0),
        learned_positions=True,
        qkv_bias=True,
        attention_output_bias=True,
        tied_embeddings=fields.get("tie_word_embeddings", bool, True),
    )


def read_gpt_neo(fields: Fields) -> ModelConfig:
    """Layers see everything, or look through a window; scores are as they are."""
    full = layers_of_kind(fields, "attention_layers", fields.count("num_layers"), ("global", "local"))
    return _read(
        fields,
        "gpt_neo",
        _GPT_NEO_FIELDS,
        rope=RopeConfig(rotary_dim=0),
        learned_positions=True,
        attention_scale=1.0,
        sliding_window=fields.size("window_size", 256),
        full_attention_layers=full,
        activation=read_activation(fields, "activation_function", "gelu_new"),
        intermediate_size=fields.size("intermediate_size", 4 * fields.size("hidden_size")),
        attention_output_bias=True,
        tied_embeddings=fields.get("tie_word_embeddings", bool, True),
    )


def _read_gpt2_fields(fields: Fields, family: str, **changes: Any) -> ModelConfig:
    activation = read_activation(fields, "activation_function", "gelu_new")
    inner = fields.size("n_inner", 4 * fields.size("n_embd"))
    return _read(fields, family, _GPT2_FIELDS, activation=activation, intermediate_size=inner, **changes)


def _read(fields: Fields, family: str, spelled: dict[str, str], **changes: Any) -> ModelConfig:
    num_heads = fields.count(spelled.get("num_attention_heads", "num_attention_heads"))
    alike: dict[str, Any] = {"num_kv_heads": num_heads, "layer_norm": True, "gated_mlp": False, "mlp_bias": True}
    return read_shape(fields, family, spelled, **alike, **changes)


NEOX = Family(("gpt_neox",), read_neox, NEOX_NAMES)
GPTJ = Family(("gptj",), read_gptj, GPTJ_NAMES)
GPT_NEO = Family(("gpt_neo",), read_gpt_neo, GPT_NEO_NAMES)
GPT2 = Family(("gpt2",), read_gpt2, GPT2_NAMES)
