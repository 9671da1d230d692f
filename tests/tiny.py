"""Tiny random models, made by transformers: the independent truth of the parity tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

SHAPE: dict[str, Any] = {
    "vocab_size": 128,
    "hidden_size": 48,
    "intermediate_size": 88,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}

CLASSES = {
    "llama": "Llama",
    "mistral": "Mistral",
    "mixtral": "Mixtral",
    "qwen2": "Qwen2",
    "qwen3": "Qwen3",
    "qwen2_moe": "Qwen2Moe",
    "qwen3_moe": "Qwen3Moe",
    "phi": "Phi",
    "phi3": "Phi3",
    "gemma": "Gemma",
    "gemma2": "Gemma2",
    "gemma3_text": "Gemma3",
    "gpt_neox": "GPTNeoX",
    "gptj": "GPTJ",
    "gpt2": "GPT2",
    "falcon": "Falcon",
    "stablelm": "StableLm",
    "starcoder2": "Starcoder2",
    "olmo2": "Olmo2",
    "granite": "Granite",
    "gpt_neo": "GPTNeo",
    "opt": "OPT",
    "bloom": "Bloom",
    "mpt": "Mpt",
    "cohere": "Cohere",
    "cohere2": "Cohere2",
}


def classes(family: str) -> tuple[Any, Any]:
    """The configuration and the model in transformers."""
    name = CLASSES[family]
    config = f"{name}TextConfig" if family == "gemma3_text" else f"{name}Config"
    model = "GPT2LMHeadModel" if family == "gpt2" else f"{name}ForCausalLM"
    return getattr(transformers, config), getattr(transformers, model)


def make_model(family: str, *, seed: int = 0, dtype: torch.dtype = torch.float32, **fields: Any) -> PreTrainedModel:
    """A model with random weights, its norms and biases not the ones and zeros that they start from."""
    config_class, model_class = classes(family)
    torch.manual_seed(seed)
    model = model_class(config_class(**{**SHAPE, **fields})).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or ".ln_" in name or name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return model.to(dtype)


def save_model(model: PreTrainedModel, folder: Path, **options: Any) -> Path:
    """Write ``model`` as a folder of safetensors, as the hub has them."""
    model.save_pretrained(folder, **options)
    return folder
