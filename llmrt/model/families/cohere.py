"""Cohere's Command R, 2 (Command R7B) too: attention and MLP side by side, LayerNorm without a bias, scaled logits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llmrt.model.config import ModelConfig, RopeConfig
from llmrt.model.families.family import Family, TensorNames
from llmrt.model.families.layers import full_attention_layers
from llmrt.model.families.shape import read_shape, refuse_true
from llmrt.model.fields import Fields

NAMES = TensorNames(interleaved_rope=True)
NOT_ROTATED = RopeConfig(rotary_dim=0)


def read_cohere(fields: Fields) -> ModelConfig:
    """Command R+ normalises queries and keys too."""
    normalised = fields.get("use_qk_norm", bool, False)
    return _read(fields, "cohere", qk_norm=normalised, qk_layer_norm=normalised)


def read_cohere2(fields: Fields) -> ModelConfig:
    """One layer of four sees everything and does not rotate; the others look through a window."""
    refuse_true(fields, "use_qk_norm")
    pattern = fields.size("sliding_window_pattern", 4)
    full = full_attention_layers(fields, lambda layer: (layer + 1) % pattern == 0)
    config = _read(fields, "cohere2", sliding_window=fields.size("sliding_window", 4096), full_attention_layers=full)
    return replace(config, rope=NOT_ROTATED, local_rope=config.rope)


def _read(fields: Fields, family: str, **changes: Any) -> ModelConfig:
    bias = fields.get("attention_bias", bool, False)
    return read_shape(
        fields,
        family,
        {"rms_norm_eps": "layer_norm_eps"},
        layer_norm=True,
        norm_bias=False,
        parallel_residual=True,
        shared_norm=True,
        qkv_bias=bias,
        attention_output_bias=bias,
        logits_scale=fields.get("logit_scale", float, 0.0625),
        tied_embeddings=fields.get("tie_word_embeddings", bool, True),
        **changes,
    )


COHERE = Family(("cohere",), read_cohere, NAMES)
COHERE2 = Family(("cohere2",), read_cohere2, NAMES)
