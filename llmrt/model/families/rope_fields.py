"""How config.json spells RoPE: ``rope_theta`` and ``rope_scaling``, or both inside ``rope_parameters``."""

from __future__ import annotations

import math

from llmrt.errors import CheckpointError
from llmrt.model.config import (
    DynamicScaling,
    LinearScaling,
    Llama3Scaling,
    RopeConfig,
    RopeScaling,
    YarnScaling,
)
from llmrt.model.fields import Fields

KINDS = ("default", "linear", "llama3", "yarn", "dynamic")


def read_rope(fields: Fields, context_length: int) -> RopeConfig:
    """The model's RoPE. Raises ``CheckpointError`` for a kind that is not known, naming those that are."""
    inner = fields.inside("rope_parameters") or fields.inside("rope_scaling")
    theta = fields.get("rope_theta", float, 10000.0)
    if inner is None:
        return RopeConfig(theta)
    return RopeConfig(inner.get("rope_theta", float, theta), _scaling(inner, context_length))


def _scaling(inner: Fields, context_length: int) -> RopeScaling | None:
    kind = inner.get("rope_type", str, inner.get("type", str, "default"))
    if kind == "default":
        return None
    if kind not in KINDS:
        raise CheckpointError(f"{inner.where}: rope_type is {kind!r}; known are {', '.join(KINDS)}.")
    if kind == "linear":
        return LinearScaling(inner.require("factor", float))
    if kind == "dynamic":
        return DynamicScaling(inner.require("factor", float), context_length)
    original = inner.size("original_max_position_embeddings", context_length)
    if kind == "llama3":
        low, high = inner.require("low_freq_factor", float), inner.require("high_freq_factor", float)
        return Llama3Scaling(inner.require("factor", float), low, high, original)
    return _yarn(inner, original, context_length)


def _yarn(inner: Fields, original: int, context_length: int) -> YarnScaling:
    factor = inner.get("factor", float, context_length / original)
    return YarnScaling(
        factor=factor,
        original_context=original,
        attention_factor=inner.get("attention_factor", float, yarn_attention_factor(inner, factor)),
        beta_fast=inner.get("beta_fast", float, 32.0),
        beta_slow=inner.get("beta_slow", float, 1.0),
        truncate=inner.get("truncate", bool, True),
    )


def yarn_attention_factor(inner: Fields, factor: float) -> float:
    """0.1 ln(factor) + 1 (YaRN, eq. 22), or the ratio of two such terms where ``mscale`` fields ask for it."""
    mscale, mscale_all = inner.get("mscale", float, 0.0), inner.get("mscale_all_dim", float, 0.0)
    if mscale and mscale_all:
        return _mscale(factor, mscale) / _mscale(factor, mscale_all)
    return _mscale(factor, 1.0)


def _mscale(factor: float, weight: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0
