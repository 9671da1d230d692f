"""Llama 1 to 3, and the many models that are Llamas by another name."""

from __future__ import annotations

from llmrt.errors import CheckpointError
from llmrt.model.config import ModelConfig
from llmrt.model.families.family import Family
from llmrt.model.families.rope_fields import read_rope
from llmrt.model.fields import Fields

DTYPES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


def read_llama(fields: Fields) -> ModelConfig:
    """The fields that every family of this shape shares; defaults are those of transformers' LlamaConfig."""
    activation = fields.get("hidden_act", str, "silu")
    if activation not in ("silu", "swish"):
        raise CheckpointError(f"{fields.where}: hidden_act is {activation!r}; only silu is supported.")
    if "quantization_config" in fields:
        raise CheckpointError(
            f"{fields.where}: quantization_config is set; checkpoints quantized by another tool are not supported,"
            " use the model's full-precision repository."
        )
    hidden_size, num_heads = fields.size("hidden_size"), fields.size("num_attention_heads")
    attention_bias = fields.get("attention_bias", bool, False)
    context_length = fields.size("max_position_embeddings", 2048)
    num_kv_heads = fields.size("num_key_value_heads", num_heads)
    if num_heads % num_kv_heads:
        raise CheckpointError(
            f"{fields.where}: num_attention_heads {num_heads} is not a multiple of num_key_value_heads {num_kv_heads}."
        )
    return ModelConfig(
        family="llama",
        vocab_size=fields.size("vocab_size"),
        hidden_size=hidden_size,
        num_layers=fields.size("num_hidden_layers"),
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=fields.size("head_dim", max(1, hidden_size // num_heads)),
        intermediate_size=fields.size("intermediate_size"),
        norm_eps=fields.get("rms_norm_eps", float, 1e-6),
        context_length=context_length,
        rope=read_rope(fields, context_length),
        tied_embeddings=fields.get("tie_word_embeddings", bool, False),
        qkv_bias=attention_bias,
        attention_output_bias=attention_bias,
        mlp_bias=fields.get("mlp_bias", bool, False),
        dtype=_dtype(fields),
    )


def _dtype(fields: Fields) -> str:
    name = fields.get("dtype", str, fields.get("torch_dtype", str, "float32"))
    if name not in DTYPES:
        raise CheckpointError(f"{fields.where}: torch_dtype is {name!r}; known are {', '.join(DTYPES)}.")
    return DTYPES[name]


LLAMA = Family(("llama",), read_llama)
