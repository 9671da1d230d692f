"""How a GGUF file spells configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from gguf import GGUFReader

from llmrt.errors import CheckpointError
from llmrt.model.config import (
    FrequencyDivisors,
    LinearScaling,
    LongRopeScaling,
    ModelConfig,
    MoeConfig,
    RopeConfig,
    RopeScaling,
    YarnScaling,
)
from llmrt.model.families.alibi import alibi_slopes
from llmrt.model.families.gguf_names import ARCHITECTURES, Architecture
from llmrt.model.families.plausible import check_config
from llmrt.model.fields import MOST_COUNT, MOST_SIZE, above_zero, finite, not_negative
from llmrt.text.gguf_metadata import read_list, read_value
from llmrt.text.gguf_parts import open_parts

T = TypeVar("T", int, float, str, bool)

# Tensors of a file that are configuration, not weights: what each RoPE frequency is divided by.
ROPE_FREQS, LONG_FACTORS, SHORT_FACTORS = "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"
ROPE_TENSORS = (ROPE_FREQS, LONG_FACTORS, SHORT_FACTORS)
# Those whose presence is configuration.
_OUTPUT, _OUTPUT_BIAS, _POSITIONS, _EMBEDDING_NORM, _NORM_BIAS = (
    "output.weight",
    "output.bias",
    "position_embd.weight",
    "token_embd_norm.weight",
    "output_norm.bias",
)
_OF_LAYERS = {
    "mlp_norm": "ffn_norm.weight",
    "parallel_norm": "attn_norm_2.weight",
    "post_norms": "post_attention_norm.weight",
    "qk_norm": "attn_q_norm.weight",
    "q_bias": "attn_q.bias",
    "qkv_bias": "attn_qkv.bias",
    "attention_output_bias": "attn_output.bias",
    "mlp_bias": "ffn_up.bias",
}
CONFIGURING_TENSORS = (
    *ROPE_TENSORS,
    *(_OUTPUT, _OUTPUT_BIAS, _POSITIONS, _EMBEDDING_NORM, _NORM_BIAS),
    *(f"blk.0.{name}" for name in _OF_LAYERS.values()),
)


def read_gguf_file(path: Path) -> ModelConfig:
    """The configuration of the file at ``path``. Raises ``CheckpointError`` that names the file and the field."""
    parts = open_parts(path)
    tensors = {tensor.name: tensor.data for reader in parts.values() for tensor in reader.tensors}
    config = read_gguf_config(parts[path], tensors)
    check_config(config, str(path))
    return config


def read_gguf_config(reader: GGUFReader, tensors: Mapping[str, Any]) -> ModelConfig:
    """The configuration in a file's metadata; which tensors are there tells of norms, of biases and of a tied head."""
    name = read_value(reader, "general.architecture", str)
    if name not in ARCHITECTURES:
        raise CheckpointError(
            f"{reader.data.filename}: GGUF field general.architecture is {name!r}; "
            f"supported are {', '.join(ARCHITECTURES)}."
        )
    fields, architecture = _Fields(reader, name), ARCHITECTURES[name]
    hidden_size, num_heads = fields.size("embedding_length"), fields.count("attention.head_count")
    head_dim = fields.size("attention.key_length", max(1, hidden_size // num_heads))
    moe = _moe(fields, name)
    return ModelConfig(
        family="mixtral" if name == "llama" and moe else architecture.family,
        vocab_size=_vocab_size(reader, fields),
        hidden_size=hidden_size,
        num_layers=fields.count("block_count"),
        num_heads=num_heads,
        num_kv_heads=fields.size("attention.head_count_kv", num_heads),
        head_dim=head_dim,
        intermediate_size=fields.size("feed_forward_length"),
        norm_eps=_norm_eps(fields),
        context_length=fields.size("context_length"),
        sliding_window=fields.size_or_none("attention.sliding_window"),
        moe=moe,
        tied_embeddings=_OUTPUT not in tensors,
        lm_head_bias=_OUTPUT_BIAS in tensors,
        layer_norm=architecture.layer_norm or _NORM_BIAS in tensors,
        norm_bias=_NORM_BIAS in tensors or not architecture.layer_norm,
        activation=architecture.activation,
        gated_mlp=architecture.gated_mlp,
        pre_norms=architecture.pre_norms,
        **_positions(fields, name, tensors, num_heads, head_dim),
        **_by_presence(fields, tensors, architecture),
        **_by_architecture(fields, name, hidden_size, num_heads, head_dim),
    )


def _by_presence(fields: _Fields, tensors: Mapping[str, Any], architecture: Architecture) -> dict[str, Any]:
    there = {what: f"blk.0.{name}" in tensors for what, name in _OF_LAYERS.items()}
    parallel = fields.get("use_parallel_residual", architecture.parallel_residual)
    return {
        "embedding_norm": _EMBEDDING_NORM in tensors,
        "post_norms": there["post_norms"],
        "parallel_residual": parallel,
        "shared_norm": parallel and not (there["mlp_norm"] or there["parallel_norm"]),
        "qk_norm": there["qk_norm"],
        "qk_layer_norm": there["qk_norm"] and architecture.family == "cohere",
        "qkv_bias": there["q_bias"] or there["qkv_bias"],
        "attention_output_bias": there["attention_output_bias"],
        "mlp_bias": there["mlp_bias"],
    }


def _by_architecture(fields: _Fields, name: str, hidden_size: int, num_heads: int, head_dim: int) -> dict[str, Any]:
    layers = range(fields.count("block_count"))
    found: dict[str, Any] = {"qk_norm_of_rows": name == "olmo2"}
    if ARCHITECTURES[name].scaled_embedding:
        found["embedding_scale"] = hidden_size**0.5
    if name == "gemma2":
        largest = len(layers) == 46  # its scores alone are scaled by another size than that of a head
        found["attention_scale"] = (hidden_size / num_heads if largest else head_dim) ** -0.5
        found["attention_cap"] = fields.get("attn_logit_softcapping", 50.0)
        found["logits_cap"] = fields.get("final_logit_softcapping", 30.0)
        found["full_attention_layers"] = tuple(layer for layer in layers if layer % 2)
    if name == "granite":
        found["attention_scale"] = fields.get("attention.scale", 1.0)
        found["embedding_scale"] = fields.get("embedding_scale", 1.0)
        found["residual_scale"] = fields.get("residual_scale", 1.0)
        found["logits_scale"] = 1 / fields.positive("logit_scale", 1.0)
    if name in ("command-r", "cohere2"):
        found["logits_scale"] = fields.get("logit_scale", 0.0625)
    if name == "cohere2":
        found["full_attention_layers"] = tuple(layer for layer in layers if layer % 4 == 3)
    if name == "mpt" and fields.get("attention.clamp_kqv", 0.0):
        raise CheckpointError(f"{fields.where('attention.clamp_kqv')} is set, which is not supported.")
    return found


def _positions(fields: _Fields, name: str, tensors: Mapping[str, Any], num_heads: int, head_dim: int) -> dict[str, Any]:
    not_rotated = RopeConfig(rotary_dim=0)
    if _POSITIONS in tensors:
        return {"rope": not_rotated, "learned_positions": True}
    if name in ("bloom", "mpt"):
        max_bias = fields.positive("attention.max_alibi_bias", 8.0)
        return {"rope": not_rotated, "alibi_slopes": alibi_slopes(num_heads, max_bias)}
    rope = _rope(fields, tensors, head_dim)
    return {"rope": not_rotated, "local_rope": rope} if name == "cohere2" else {"rope": rope}


def _rope(fields: _Fields, tensors: Mapping[str, Any], head_dim: int) -> RopeConfig:
    rotary_dim = fields.get("rope.dimension_count", head_dim)
    scaling = _scaling(fields, tensors, fields.size("context_length"))
    theta = fields.positive("rope.freq_base", 10000.0)
    return RopeConfig(theta, scaling, None if rotary_dim == head_dim else rotary_dim)


class _Fields:
    """The fields of one architecture: ``llama.block_count`` is its "block_count"."""

    def __init__(self, reader: GGUFReader, architecture: str) -> None:
        self._reader = reader
        self._prefix = architecture

    def __contains__(self, name: str) -> bool:
        return f"{self._prefix}.{name}" in self._reader.fields

    def get(self, name: str, default: T) -> T:
        """Of the type of ``default``."""
        value = read_value(self._reader, f"{self._prefix}.{name}", type(default))
        if isinstance(value, float):
            finite(self.where(name), value)
        return default if value is None else value

    def size(self, name: str, default: int = 0, most: int = MOST_SIZE) -> int:
        """Above 0; without a ``default`` the field must be there."""
        if not default and name not in self:
            raise CheckpointError(f"{self.where(name)} is missing.")
        return above_zero(self.where(name), self.get(name, default), most)

    def size_or_none(self, name: str) -> int | None:
        """The same, None if the field is absent or 0."""
        return self.size(name) if self.get(name, 0) else None

    def count(self, name: str, default: int = 0) -> int:
        """The same of layers, heads or experts."""
        return self.size(name, default, MOST_COUNT)

    def positive(self, name: str, default: float) -> float:
        """A number above 0."""
        return above_zero(self.where(name), self.get(name, default))

    def not_negative(self, name: str, default: float) -> float:
        """A number that may be 0."""
        return not_negative(self.where(name), self.get(name, default))

    def where(self, name: str) -> str:
        """What errors call a field."""
        return f"{self._reader.data.filename}: GGUF field {self._prefix}.{name}"


def _moe(fields: _Fields, architecture: str) -> MoeConfig | None:
    if not fields.get("expert_count", 0):
        return None
    return MoeConfig(
        fields.count("expert_count"),
        fields.size("expert_used_count"),
        fields.size("expert_feed_forward_length", fields.size("feed_forward_length")),
        renormalize=architecture != "qwen2moe",
        shared_size=fields.size("expert_shared_feed_forward_length") if architecture == "qwen2moe" else 0,
    )


def _norm_eps(fields: _Fields) -> float:
    rms = "attention.layer_norm_rms_epsilon"
    return fields.not_negative(rms if rms in fields else "attention.layer_norm_epsilon", 1e-5)


def _vocab_size(reader: GGUFReader, fields: _Fields) -> int:
    tokens = read_list(reader, "tokenizer.ggml.tokens", str)
    return len(tokens) if tokens is not None else fields.size("vocab_size")


def _scaling(fields: _Fields, tensors: Mapping[str, Any], context_length: int) -> RopeScaling | None:
    if ROPE_FREQS in tensors:
        return FrequencyDivisors(tuple(tensors[ROPE_FREQS].tolist()))
    if LONG_FACTORS in tensors and SHORT_FACTORS in tensors:
        short, long = (tuple(tensors[name].tolist()) for name in (SHORT_FACTORS, LONG_FACTORS))
        original = fields.size("rope.scaling.original_context_length", context_length)
        return LongRopeScaling(short, long, original, fields.get("rope.scaling.attn_factor", 1.0))
    kind = fields.get("rope.scaling.type", "") or "linear"
    if kind == "none":
        return None
    # Read as llama.cpp does: the second is the older name, and 0 is no scaling.
    factor = fields.not_negative("rope.scaling.factor", 0.0) or fields.not_negative("rope.scale_linear", 0.0) or 1.0
    match kind:
        case "linear":
            return LinearScaling(factor) if factor != 1.0 else None
        case "yarn":
            return YarnScaling(
                factor=factor,
                original_context=fields.size("rope.scaling.original_context_length", context_length),
                attention_factor=(0.1 * math.log(factor) + 1.0) * fields.get("rope.scaling.attn_factor", 1.0),
            )
        case _:
            raise CheckpointError(f"{fields.where('rope.scaling.type')} is {kind!r}; known are none, linear, yarn.")
