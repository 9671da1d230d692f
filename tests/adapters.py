"""LoRA adapters with random matrices, made by peft: the independent truth of what they compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel


def make_adapter(model: PreTrainedModel, folder: Path, *, seed: int = 0, **fields: Any) -> Path:
    """Save an adapter of ``model`` in ``folder``; the model itself is as it was."""
    torch.manual_seed(seed)
    adapted = get_peft_model(model, LoraConfig(**{"r": 8, "lora_alpha": 16, "target_modules": ["q_proj"], **fields}))
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn_like(parameter) * 0.2)
    adapted.save_pretrained(folder)
    adapted.unload()
    return folder


def merged(model: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    """``model``, changed for good by what peft reads from ``adapter``."""
    return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
