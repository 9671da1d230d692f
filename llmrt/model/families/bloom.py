"""BLOOM and MPT: ALiBi instead of rotations, MLPs without a gate."""

from __future__ import annotations

from typing import Any

from llmrt.errors import CheckpointError
from llmrt.model.config import ModelConfig, RopeConfig
from llmrt.model.families.alibi import alibi_slopes
from llmrt.model.families.family import Family, TensorNames
from llmrt.model.families.shape import read_shape, refuse_false, refuse_true
from llmrt.model.fields import Fields

BLOOM_NAMES = TensorNames(
    embedding="transformer.word_embeddings",
    embedding_norm="transformer.word_embeddings_layernorm",
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
MPT_NAMES = TensorNames(
    embedding="transformer.wte",
    final_norm="transformer.norm_f",
    layer="transformer.blocks.{i}.",
    attention_norm="norm_1",
    q="attn.Wqkv[q]",
    k="attn.Wqkv[k]",
    v="attn.Wqkv[v]",
    attention_output="attn.out_proj",
    mlp_norm="norm_2",
    up="ffn.up_proj",
    down="ffn.down_proj",
)
_MPT_FIELDS = {
    "hidden_size": "d_model",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "max_position_embeddings": "max_seq_len",
    "rms_norm_eps": "layer_norm_epsilon",
}


def read_bloom(fields: Fields) -> ModelConfig:
    """LayerNorm of the embeddings too, and biases everywhere."""
    refuse_true(fields, "apply_residual_connection_post_layernorm")
    spelled = {
        "hidden_size": "hidden_size" if "hidden_size" in fields else "n_embed",
        "num_attention_heads": "n_head" if "n_head" in fields else "num_attention_heads",
        "num_hidden_layers": "n_layer" if "n_layer" in fields else "num_hidden_layers",
        "max_position_embeddings": "seq_length",
        "rms_norm_eps": "layer_norm_epsilon",
    }
    biases: dict[str, Any] = dict.fromkeys(("qkv_bias", "attention_output_bias", "mlp_bias"), True)
    return _read(fields, "bloom", spelled, activation="gelu_tanh", embedding_norm=True, **biases)


def read_mpt(fields: Fields) -> ModelConfig:
    """No biases at all."""
    attention = fields.inside("attn_config") or Fields({}, fields.where)
    refuse_false(attention, "alibi")
    refuse_false(fields, "no_bias")
    refuse_true(attention, "prefix_lm", "qk_ln")
    for where, name in ((attention, "clip_qkv"), (fields, "logit_scale")):
        if where.is_on(name):
            raise CheckpointError(f"{where.where}: {name} is set, which is not supported.")
    kind = attention.get("attn_type", str, "multihead_attention")
    if kind != "multihead_attention":
        raise CheckpointError(f"{attention.where}: attn_type is {kind!r}; supported is multihead_attention.")
    return _read(
        fields,
        "mpt",
        _MPT_FIELDS,
        max_bias=float(attention.size("alibi_bias_max", 8)),
        intermediate_size=fields.size("expansion_ratio", 4) * fields.size("d_model"),
        activation="gelu",
        norm_bias=False,
        attention_scale=attention.require("softmax_scale", float) if "softmax_scale" in attention else None,
    )


def _read(fields: Fields, family: str, spelled: dict[str, str], max_bias: float = 8.0, **changes: Any) -> ModelConfig:
    hidden_size, num_heads = fields.size(spelled["hidden_size"]), fields.count(spelled["num_attention_heads"])
    alike: dict[str, Any] = {
        "num_kv_heads": num_heads,
        "intermediate_size": 4 * hidden_size,
        "rope": RopeConfig(rotary_dim=0),
        "alibi_slopes": alibi_slopes(num_heads, max_bias),
        "layer_norm": True,
        "gated_mlp": False,
        "tied_embeddings": fields.get("tie_word_embeddings", bool, True),
    }
    return read_shape(fields, family, spelled, **(alike | changes))


BLOOM = Family(("bloom",), read_bloom, BLOOM_NAMES)
MPT = Family(("mpt",), read_mpt, MPT_NAMES)
