"""Gemma 1 to 3 (text alone): norms stored less one, scaled embeddings, GELU; from 2 on norms after products too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llmrt.model.config import ModelConfig, RopeConfig
from llmrt.model.families.family import Family, TensorNames
from llmrt.model.families.layers import full_attention_layers
from llmrt.model.families.rope_fields import read_rope
from llmrt.model.families.shape import read_activation, read_shape
from llmrt.model.fields import Fields

GEMMA_NAMES = TensorNames(norm_offset=1.0)
GEMMA2_NAMES = replace(
    GEMMA_NAMES, attention_post_norm="post_attention_layernorm", mlp_norm="pre_feedforward_layernorm"
)


def read_gemma(fields: Fields) -> ModelConfig:
    """Its old ``hidden_act`` said gelu and meant the tanh form, which ``hidden_activation`` says."""
    return _read(fields, "gemma", activation=read_activation(fields, "hidden_activation", "gelu_pytorch_tanh"))


def read_gemma2(fields: Fields) -> ModelConfig:
    """Every other layer looks through a window; scores and logits are capped."""
    return _read_normed(
        fields,
        "gemma2",
        attention_cap=_cap(fields, "attn_logit_softcapping", 50.0),
        logits_cap=_cap(fields, "final_logit_softcapping", 30.0),
        full_attention_layers=full_attention_layers(fields, lambda layer: layer % 2 == 1),
    )


def read_gemma3(fields: Fields) -> ModelConfig:
    """One layer of six sees everything; the others look through a window and rotate by a base of their own."""
    pattern = fields.size("sliding_window_pattern", 6)
    return _read_normed(
        fields,
        "gemma3_text",
        rope=_rope(fields, "full_attention"),
        local_rope=_local_rope(fields),
        qk_norm=True,
        attention_cap=_cap(fields, "attn_logit_softcapping", 0.0),
        logits_cap=_cap(fields, "final_logit_softcapping", 0.0),
        full_attention_layers=full_attention_layers(fields, lambda layer: (layer + 1) % pattern == 0),
    )


def _local_rope(fields: Fields) -> RopeConfig:
    if "rope_parameters" in fields:
        return _rope(fields, "sliding_attention")
    return RopeConfig(fields.positive("rope_local_base_freq", 10000.0))


def _rope(fields: Fields, kind: str) -> RopeConfig:
    context_length, head_dim = fields.size("max_position_embeddings", 131072), fields.size("head_dim", 256)
    return read_rope(fields, context_length, head_dim, kind=kind, default_theta=1e6)


def _read_normed(fields: Fields, family: str, **changes: Any) -> ModelConfig:
    """What Gemma 2 and 3 share."""
    activation = read_activation(fields, "hidden_activation", "gelu_pytorch_tanh")
    return _read(
        fields,
        family,
        activation=activation,
        post_norms=True,
        sliding_window=fields.size("sliding_window", 4096),
        attention_scale=fields.positive("query_pre_attn_scalar", 256.0) ** -0.5,
        **changes,
    )


def _read(fields: Fields, family: str, **changes: Any) -> ModelConfig:
    bias = fields.get("attention_bias", bool, False)
    config = read_shape(
        fields,
        family,
        head_dim=fields.size("head_dim", 256),
        qkv_bias=bias,
        attention_output_bias=bias,
        tied_embeddings=fields.get("tie_word_embeddings", bool, True),
        **changes,
    )
    return replace(config, embedding_scale=config.hidden_size**0.5)


def _cap(fields: Fields, name: str, default: float) -> float:
    """A cap; null is none."""
    return 0.0 if fields.is_null(name) else fields.get(name, float, default)


GEMMA = Family(("gemma",), read_gemma, GEMMA_NAMES)
GEMMA2 = Family(("gemma2",), read_gemma2, GEMMA2_NAMES)
GEMMA3 = Family(("gemma3_text",), read_gemma3, GEMMA2_NAMES)
