"""What transformers computes, and that llmrt computes the same; fields of models that several tests need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.runners.cpu_runner import CpuRunner
from tests.engines import greedy, open_engine, score

ROPE = {"rope_theta": 10000.0}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
SMALL_EXPERTS = {"num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 32}
DEFAULT = {"rope_type": "default", "rope_theta": 10000.0}
ALL_ROTATED = {"rope_parameters": {"partial_rotary_factor": 1.0, **DEFAULT}}
GRANITE = {
    "embedding_multiplier": 3.0,
    "attention_multiplier": 0.2,
    "residual_multiplier": 0.4,
    "logits_scaling": 2.0,
}
NEW_FALCON = {"new_decoder_architecture": True, "num_kv_heads": 2}

# Sizes that the native kernels do not serve, and sizes that they do; the vocabulary is not whole blocks.
TORCH: dict[str, Any] = {}
NATIVE: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 80, "vocab_size": 133}

PROMPT_LENGTHS = (1, 7, 37, 100)


def prompt(length: int, seed: int = 1) -> list[int]:
    generator = torch.Generator().manual_seed(seed + length)
    return torch.randint(3, 128, (length,), generator=generator).tolist()


def hf_logits(model: PreTrainedModel, token_ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.tensor([token_ids])).logits[0].float()


def hf_greedy(model: PreTrainedModel, token_ids: list[int], count: int) -> list[int]:
    with torch.inference_mode():
        out = model.generate(torch.tensor([token_ids]), max_new_tokens=count, do_sample=False, eos_token_id=None)
    return out[0, len(token_ids) :].tolist()


def check_parity(model: PreTrainedModel, folder: Path) -> None:
    engine = open_engine(folder, quant="none")
    for length in PROMPT_LENGTHS:
        token_ids = prompt(length)
        difference = (score(engine, token_ids) - hf_logits(model, token_ids)).abs().max().item()
        assert difference < 3e-4, f"prompt of {length}: logits differ by {difference}"
        assert greedy(engine, token_ids, 24) == hf_greedy(model, token_ids, 24), f"prompt of {length}"
    check_tapes(engine)


def check_tapes(engine: LLMEngine) -> None:
    """Where a model's sizes are the native kernels', all of a decode step is on a tape."""
    runner = engine._runner
    assert isinstance(runner, CpuRunner)
    config, tapes = runner._decoder.config, runner._tapes
    assert (tapes is not None) == (config.granule_on("cpu") % 16 == 0)
    assert tapes is None or tapes.possible
