"""How a GGUF file spells configuration."""

from __future__ import annotations

import math
from pathlib import Path

from gguf import GGUFReader

from llmrt.errors import CheckpointError
from llmrt.model.config import (
    FrequencyDivisors,
    LinearScaling,
    ModelConfig,
    MoeConfig,
    RopeConfig,
    RopeScaling,
    YarnScaling,
)
from llmrt.model.families.gguf_names import ARCHITECTURES
from llmrt.text.gguf_metadata import open_gguf, read_list, read_value

# A tensor of the file that is configuration, not a weight: what each RoPE frequency is divided by.
ROPE_FREQS = "rope_freqs.weight"
# Those whose presence is configuration.
_OUTPUT, _QK_NORM, _QKV_BIAS, _ATTENTION_OUTPUT_BIAS, _MLP_BIAS = (
    "output.weight",
    "blk.0.attn_q_norm.weight",
    "blk.0.attn_q.bias",
    "blk.0.attn_output.bias",
    "blk.0.ffn_gate.bias",
)
CONFIGURING_TENSORS = (ROPE_FREQS, _OUTPUT, _QK_NORM, _QKV_BIAS, _ATTENTION_OUTPUT_BIAS, _MLP_BIAS)


def read_gguf_file(path: Path) -> ModelConfig:
    """The configuration of the file at ``path``. Raises ``CheckpointError`` that names the file and the field."""
    reader = open_gguf(path)
    try:
        return read_gguf_config(reader)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def read_gguf_config(reader: GGUFReader) -> ModelConfig:
    """The configuration in a file's metadata; which tensors are there tells of biases and of a tied head."""
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    divisors = tuple(tensors[ROPE_FREQS].tolist()) if ROPE_FREQS in tensors else None
    architecture = read_value(reader, "general.architecture", str)
    if architecture not in ARCHITECTURES:
        raise CheckpointError(
            f"GGUF field general.architecture is {architecture!r}; supported are {', '.join(ARCHITECTURES)}."
        )
    fields = _Fields(reader, architecture)
    hidden_size, num_heads = fields.size("embedding_length"), fields.size("attention.head_count")
    context_length = fields.size("context_length")
    moe = _moe(fields, architecture)
    return ModelConfig(
        family="mixtral" if architecture == "llama" and moe else ARCHITECTURES[architecture].family,
        vocab_size=_vocab_size(reader, fields),
        hidden_size=hidden_size,
        num_layers=fields.size("block_count"),
        num_heads=num_heads,
        num_kv_heads=fields.number("attention.head_count_kv", num_heads),
        head_dim=fields.number("attention.key_length", max(1, hidden_size // num_heads)),
        intermediate_size=fields.size("feed_forward_length"),
        norm_eps=fields.real("attention.layer_norm_rms_epsilon", 1e-5),
        context_length=context_length,
        rope=RopeConfig(fields.real("rope.freq_base", 10000.0), _scaling(fields, divisors, context_length)),
        sliding_window=fields.number("attention.sliding_window", 0) or None,
        moe=moe,
        tied_embeddings=_OUTPUT not in tensors,
        qk_norm=_QK_NORM in tensors,
        qkv_bias=_QKV_BIAS in tensors,
        attention_output_bias=_ATTENTION_OUTPUT_BIAS in tensors,
        mlp_bias=_MLP_BIAS in tensors,
    )


class _Fields:
    """The fields of one architecture: ``llama.block_count`` is its "block_count"."""

    def __init__(self, reader: GGUFReader, architecture: str) -> None:
        self._reader = reader
        self._prefix = architecture

    def number(self, name: str, default: int) -> int:
        value = read_value(self._reader, f"{self._prefix}.{name}", int)
        return default if value is None else value

    def size(self, name: str) -> int:
        value = self.number(name, 0)
        if value <= 0:
            raise CheckpointError(f"GGUF field {self._prefix}.{name} is missing or not above 0.")
        return value

    def real(self, name: str, default: float) -> float:
        value = read_value(self._reader, f"{self._prefix}.{name}", float)
        return default if value is None else value

    def text(self, name: str, default: str) -> str:
        return read_value(self._reader, f"{self._prefix}.{name}", str) or default


def _moe(fields: _Fields, architecture: str) -> MoeConfig | None:
    num_experts = fields.number("expert_count", 0)
    if not num_experts:
        return None
    return MoeConfig(
        num_experts,
        fields.size("expert_used_count"),
        fields.number("expert_feed_forward_length", fields.number("feed_forward_length", 0)),
        renormalize=architecture != "qwen2moe",
        shared_size=fields.size("expert_shared_feed_forward_length") if architecture == "qwen2moe" else 0,
    )


def _vocab_size(reader: GGUFReader, fields: _Fields) -> int:
    tokens = read_list(reader, "tokenizer.ggml.tokens", str)
    return len(tokens) if tokens is not None else fields.size("vocab_size")


def _scaling(fields: _Fields, divisors: tuple[float, ...] | None, context_length: int) -> RopeScaling | None:
    if divisors is not None:
        return FrequencyDivisors(divisors)
    kind = fields.text("rope.scaling.type", "none")
    factor = fields.real("rope.scaling.factor", 1.0)
    match kind:
        case "none":
            return None
        case "linear":
            return LinearScaling(factor)
        case "yarn":
            return YarnScaling(
                factor=factor,
                original_context=fields.number("rope.scaling.original_context_length", context_length),
                attention_factor=(0.1 * math.log(factor) + 1.0) * fields.real("rope.scaling.attn_factor", 1.0),
            )
        case _:
            raise CheckpointError(f"GGUF field rope.scaling.type is {kind!r}; known are none, linear, yarn.")
