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
    llama = read_llama(fields)
    num_experts = fields.count("num_local_experts", 8)
    moe = MoeConfig(num_experts, num_active_experts(fields, num_experts, 2), llama.intermediate_size)
    return replace(llama, family="mixtral", sliding_window=fields.size_or_none("sliding_window"), moe=moe)


def num_active_experts(fields: Fields, num_experts: int, default: int) -> int:
    """Experts that a token passes through. Raises ``CheckpointError`` if they are more than there are."""
    num_active = fields.size("num_experts_per_tok", default)
    if num_active > num_experts:
        raise CheckpointError(f"{fields.where}: num_experts_per_tok {num_active} is above {num_experts}.")
    return num_active


MIXTRAL = Family(("mixtral",), read_mixtral)
