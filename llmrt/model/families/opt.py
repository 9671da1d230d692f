"""OPT: learned positions, ReLU, biases everywhere."""

from __future__ import annotations

from llmrt.errors import CheckpointError
from llmrt.model.config import ModelConfig, RopeConfig
from llmrt.model.families.family import Family, TensorNames
from llmrt.model.families.shape import read_activation, read_shape, refuse_false, refuse_true
from llmrt.model.fields import Fields

NAMES = TensorNames(
    embedding="model.decoder.embed_tokens",
    positions="model.decoder.embed_positions",
    final_norm="model.decoder.final_layer_norm",
    layer="model.decoder.layers.{i}.",
    attention_norm="self_attn_layer_norm",
    attention_output="self_attn.out_proj",
    mlp_norm="final_layer_norm",
    up="fc1",
    down="fc2",
    unused_positions=2,
)


def read_opt(fields: Fields) -> ModelConfig:
    """All of them but the 350M, whose norms come after the products and whose embeddings are projected."""
    refuse_true(fields, "_remove_final_layer_norm")
    refuse_false(fields, "do_layer_norm_before", "layer_norm_elementwise_affine")
    hidden_size = fields.size("hidden_size")
    projected = fields.size("word_embed_proj_dim", hidden_size)
    if projected != hidden_size:
        raise CheckpointError(
            f"{fields.where}: word_embed_proj_dim is {projected}; supported is hidden_size, {hidden_size}, alone."
        )
    bias = fields.get("enable_bias", bool, True)
    return read_shape(
        fields,
        "opt",
        {"intermediate_size": "ffn_dim", "hidden_act": "activation_function"},
        activation=read_activation(fields, "activation_function", "relu"),
        num_kv_heads=fields.size("num_attention_heads"),
        norm_eps=1e-5,
        rope=RopeConfig(rotary_dim=0),
        learned_positions=True,
        layer_norm=True,
        gated_mlp=False,
        qkv_bias=bias,
        attention_output_bias=bias,
        mlp_bias=bias,
        tied_embeddings=fields.get("tie_word_embeddings", bool, True),
    )


OPT = Family(("opt",), read_opt, NAMES)
