"""Llama 1 to 3, and the many models that are Llamas by another name."""

from __future__ import annotations

from llmrt.model.config import ModelConfig
from llmrt.model.families.family import Family
from llmrt.model.families.shape import read_shape
from llmrt.model.fields import Fields


def read_llama(fields: Fields) -> ModelConfig:
    """A Llama, whose biases are on all products of attention or of the MLP, if there are any."""
    bias = fields.get("attention_bias", bool, False)
    mlp_bias = fields.get("mlp_bias", bool, False)
    return read_shape(fields, "llama", qkv_bias=bias, attention_output_bias=bias, mlp_bias=mlp_bias)


LLAMA = Family(("llama",), read_llama)
