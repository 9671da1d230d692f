"""The families that are known, by the ``model_type`` of config.json."""

from __future__ import annotations

from llmrt.errors import CheckpointError
from llmrt.model.config import ModelConfig
from llmrt.model.families.bloom import BLOOM, MPT
from llmrt.model.families.cohere import COHERE, COHERE2
from llmrt.model.families.falcon import FALCON
from llmrt.model.families.family import Family
from llmrt.model.families.gemma import GEMMA, GEMMA2, GEMMA3
from llmrt.model.families.llama import LLAMA
from llmrt.model.families.mistral import MISTRAL
from llmrt.model.families.mixtral import MIXTRAL
from llmrt.model.families.neox import GPT2, GPT_NEO, GPTJ, NEOX
from llmrt.model.families.opt import OPT
from llmrt.model.families.phi import PHI, PHI3
from llmrt.model.families.qwen import QWEN2, QWEN2_MOE, QWEN3, QWEN3_MOE
from llmrt.model.families.variants import GRANITE, INTERNLM2, OLMO2, STABLELM, STARCODER2
from llmrt.model.fields import Fields

_ALL = (
    *(LLAMA, MISTRAL, MIXTRAL, QWEN2, QWEN3, QWEN2_MOE, QWEN3_MOE, PHI, PHI3, GEMMA, GEMMA2, GEMMA3),
    *(
        GPT2,
        GPTJ,
        GPT_NEO,
        NEOX,
        OPT,
        BLOOM,
        MPT,
        FALCON,
        STABLELM,
        STARCODER2,
        OLMO2,
        GRANITE,
        INTERNLM2,
        COHERE,
        COHERE2,
    ),
)
FAMILIES: dict[str, Family] = {model_type: family for family in _ALL for model_type in family.model_types}


def find_family(fields: Fields) -> Family:
    """The family that config.json names. Raises ``CheckpointError`` that lists the known ones."""
    model_type = fields.get("model_type", str, "")
    if model_type not in FAMILIES:
        architectures = ", ".join(fields.strings("architectures"))
        named = f"model_type {model_type!r}" + (f" ({architectures})" if architectures else "")
        raise CheckpointError(f"{fields.where}: {named} is not supported; known are {', '.join(FAMILIES)}.")
    return FAMILIES[model_type]


def read_model_config(fields: Fields) -> ModelConfig:
    """The configuration that config.json describes."""
    return find_family(fields).read_config(fields)
