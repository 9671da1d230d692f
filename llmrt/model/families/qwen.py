"""Qwen 2 to 3: Llamas with biases or norms at queries and keys, dense or with many small experts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from llmrt.model.config import ModelConfig, MoeConfig
from llmrt.model.families.family import Family, TensorNames
from llmrt.model.families.layers import full_attention_layers
from llmrt.model.families.llama import read_llama
from llmrt.model.families.mixtral import num_active_experts
from llmrt.model.fields import Fields

EXPERT_NAMES = TensorNames(
    router="mlp.gate",
    expert_gate="mlp.experts.{e}.gate_proj",
    expert_up="mlp.experts.{e}.up_proj",
    expert_down="mlp.experts.{e}.down_proj",
)


def read_qwen2(fields: Fields) -> ModelConfig:
    """A Llama's fields; the lower ``max_window_layers`` see everything, if there is a window at all."""
    config = replace(read_llama(fields), family="qwen2", qkv_bias=True)
    first_windowed = fields.get("max_window_layers", int, 28)
    return _with_window(config, fields, lambda layer: layer < first_windowed)


def read_qwen3(fields: Fields) -> ModelConfig:
    """The same without biases, and each head of queries and keys is normalised."""
    config = read_qwen2(fields)
    bias = fields.get("attention_bias", bool, False)
    return replace(config, family="qwen3", qk_norm=True, qkv_bias=bias, head_dim=fields.size("head_dim", 128))


def read_qwen2_moe(fields: Fields) -> ModelConfig:
    """Qwen2 with experts, one of which every token passes through."""
    shared_size = fields.size("shared_expert_intermediate_size", 5632)
    moe = replace(_read_moe(fields, num_experts=60, num_active=4, inner=1408), shared_size=shared_size)
    bias = fields.get("qkv_bias", bool, True)
    config = replace(read_llama(fields), family="qwen2_moe", qkv_bias=bias, moe=moe)
    below = fields.get("max_window_layers", int, 28)
    return _with_window(config, fields, lambda layer: layer % 2 == 1 or layer >= below)


def read_qwen3_moe(fields: Fields) -> ModelConfig:
    """Qwen3 with experts."""
    moe = _read_moe(fields, num_experts=128, num_active=8, inner=768)
    return _with_window(replace(read_llama(fields), family="qwen3_moe", qk_norm=True, moe=moe), fields, lambda _: False)


def _read_moe(fields: Fields, *, num_experts: int, num_active: int, inner: int) -> MoeConfig:
    """Every ``decoder_sparse_step``-th layer has experts, but for ``mlp_only_layers``."""
    count = fields.count("num_experts", fields.count("num_local_experts", num_experts))
    step, dense = fields.size("decoder_sparse_step", 1), frozenset(fields.integers("mlp_only_layers"))
    layers = range(fields.count("num_hidden_layers"))
    return MoeConfig(
        count,
        num_active_experts(fields, count, num_active),
        fields.size("moe_intermediate_size", inner),
        renormalize=fields.get("norm_topk_prob", bool, False),
        dense_layers=tuple(layer for layer in layers if layer in dense or (layer + 1) % step),
    )


def _with_window(config: ModelConfig, fields: Fields, sees_everything: Callable[[int], bool]) -> ModelConfig:
    if not fields.get("use_sliding_window", bool, False):
        return config
    full = full_attention_layers(fields, sees_everything)
    return replace(config, sliding_window=fields.size("sliding_window", 4096), full_attention_layers=full)


QWEN2 = Family(("qwen2",), read_qwen2)
QWEN3 = Family(("qwen3",), read_qwen3)
QWEN2_MOE = Family(("qwen2_moe",), read_qwen2_moe, EXPERT_NAMES)
QWEN3_MOE = Family(("qwen3_moe",), read_qwen3_moe, EXPERT_NAMES)
