"""Mistral: a Llama whose attention may look through a sliding window."""

from __future__ import annotations

from dataclasses import replace

from llmrt.model.config import ModelConfig
from llmrt.model.families.family import Family
from llmrt.model.families.llama import read_llama
from llmrt.model.fields import Fields

# What a config.json without the field means, as in transformers' MistralConfig; null means no window.
DEFAULT_WINDOW = 4096


def read_mistral(fields: Fields) -> ModelConfig:
    """A Llama's fields and ``sliding_window``."""
    if "sliding_window" in fields:
        window = fields.size("sliding_window")
    else:
        window = None if fields.is_null("sliding_window") else DEFAULT_WINDOW
    return replace(read_llama(fields), family="mistral", sliding_window=window)


MISTRAL = Family(("mistral",), read_mistral)
