"""Mixtral: a Mistral whose MLP is a choice of experts."""

from __future__ import annotations

from dataclasses import replace

from llmrt.errors import CheckpointError
from llmrt.model.config import ModelConfig, MoeConfig
from llmrt.model.families.family import Family
from llmrt.model.families.llama import read_llama
from llmrt.model.fields import Fields


def read_mixtral(fields: Fields) -> ModelConfig:
    """A Llama's fields, ``sliding_window`` (absent: none), and the number of experts, in all and for a token."""
    moe = MoeConfig(fields.size("num_local_experts", 8), fields.size("num_experts_per_tok", 2))
    if moe.num_active > moe.num_experts:
        raise CheckpointError(f"{fields.where}: num_experts_per_tok {moe.num_active} is above {moe.num_experts}.")
    window = fields.size("sliding_window") if "sliding_window" in fields else None
    return replace(read_llama(fields), family="mixtral", sliding_window=window, moe=moe)


MIXTRAL = Family(("mixtral",), read_mixtral)
