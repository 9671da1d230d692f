"""How config.json spells RoPE: ``rope_theta`` and ``rope_scaling``, or both inside ``rope_parameters``."""

from __future__ import annotations

import math

from llmrt.errors import CheckpointError
from llmrt.model.config import (
    DynamicScaling,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    RopeConfig,
    RopeScaling,
    YarnScaling,
)
from llmrt.model.fields import MOST_SIZE, Fields

KINDS = ("default", "linear", "llama3", "yarn", "dynamic", "longrope")


def read_rope(
    fields: Fields,
    context_length: int,
    head_dim: int,
    *,
    kind: str | None = None,
    theta: str = "rope_theta",
    default_theta: float = 10000.0,
    rotated: str = "partial_rotary_factor",
    default_rotated: float = 1.0,
) -> RopeConfig:
    """The model's RoPE, or that of layers of ``kind`` where each has its own inside ``rope_parameters``.

    ``theta`` and ``rotated`` are what fields outside of that are called. Raises ``CheckpointError`` for a type that is
    not known, naming those that are.
    """
    inner = fields.inside("rope_parameters") or fields.inside("rope_scaling") or Fields({}, fields.where)
    inner = (inner.inside(kind) if kind else None) or inner
    base, share = fields.positive(theta, default_theta), fields.positive(rotated, default_rotated, 1.0)
    rotary_dim = int(head_dim * inner.positive("partial_rotary_factor", share, 1.0))
    if not 0 < rotary_dim <= head_dim or rotary_dim % 2 or head_dim % 2:
        raise CheckpointError(f"{fields.where}: {rotary_dim} of {head_dim} dimensions of a head would be rotated.")
    scaling = _scaling(inner, fields, context_length)
    return RopeConfig(inner.positive("rope_theta", base), scaling, None if rotary_dim == head_dim else rotary_dim)


def _scaling(inner: Fields, outer: Fields, context_length: int) -> RopeScaling | None:
    kind = inner.get("rope_type", str, inner.get("type", str, "default"))
    if kind == "default":
        return None
    if kind == "su":  # as the first of these models called it
        kind = "longrope"
    if kind not in KINDS:
        raise CheckpointError(f"{inner.where}: rope_type is {kind!r}; known are {', '.join(KINDS)}.")
    if kind == "linear":
        return LinearScaling(inner.positive("factor"))
    if kind == "dynamic":
        return DynamicScaling(inner.positive("factor", most=MOST_SIZE / context_length), context_length)
    original = inner.size("original_max_position_embeddings", context_length)
    if kind == "llama3":
        low, high = inner.positive("low_freq_factor"), inner.positive("high_freq_factor")
        return Llama3Scaling(inner.positive("factor"), low, high, original)
    if kind == "longrope":
        original = inner.size(
            "original_max_position_embeddings", outer.size("original_max_position_embeddings", original)
        )
        return _longrope(inner, original, context_length)
    return _yarn(inner, original, context_length)


def _longrope(inner: Fields, original: int, context_length: int) -> LongRopeScaling:
    factor = inner.positive("factor", context_length / original)
    magnitude = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 and original > 1 else 1.0
    short, long = (tuple(inner.floats(name)) for name in ("short_factor", "long_factor"))
    return LongRopeScaling(short, long, original, inner.get("attention_factor", float, magnitude))


def _yarn(inner: Fields, original: int, context_length: int) -> YarnScaling:
    factor = inner.positive("factor", context_length / original)
    return YarnScaling(
        factor=factor,
        original_context=original,
        attention_factor=inner.get("attention_factor", float, yarn_attention_factor(inner, factor)),
        beta_fast=inner.not_negative("beta_fast", 32.0) or 32.0,  # transformers too reads 0 as absent
        beta_slow=inner.not_negative("beta_slow", 1.0) or 1.0,
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
