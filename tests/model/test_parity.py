"""Logits and greedy text equal those of transformers, for every variant of the decoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from llmrt.engine.request import SamplingParams
from tests.engines import greedy, open_engine, score
from tests.tiny import make_model, save_model

ROPE = {"rope_theta": 10000.0}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
YARN = {"factor": 4.0, "original_max_position_embeddings": 64}
SMALL_EXPERTS = {"num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 32}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "gqa": ("llama", {}),
    "mha": ("llama", {"num_key_value_heads": 4}),
    "mqa": ("llama", {"num_key_value_heads": 1}),
    "tied": ("llama", {"tie_word_embeddings": True}),
    "attention-bias": ("llama", {"attention_bias": True}),
    "mlp-bias": ("llama", {"mlp_bias": True}),
    "head-dim": ("llama", {"head_dim": 20}),
    "rope-theta": ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}),
    "rope-linear": ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.5, **ROPE}}),
    "rope-llama3": ("llama", {"rope_parameters": {"rope_type": "llama3", **LLAMA3, **ROPE}}),
    "rope-yarn": ("llama", {"rope_parameters": {"rope_type": "yarn", **YARN, **ROPE}}),
    "rope-yarn-mscale": (
        "llama",
        {"rope_parameters": {"rope_type": "yarn", **YARN, **ROPE, "mscale": 0.7, "mscale_all_dim": 1.3}},
    ),
    "rope-yarn-betas": (
        "llama",
        {"rope_parameters": {"rope_type": "yarn", **YARN, **ROPE, "beta_fast": 16, "beta_slow": 2, "truncate": False}},
    ),
    "mistral-window": ("mistral", {"sliding_window": 16}),
    "mistral-no-window": ("mistral", {"sliding_window": None}),
    "mixtral": ("mixtral", {"num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": None}),
    "qwen2": ("qwen2", {"tie_word_embeddings": True}),
    "qwen2-window": ("qwen2", {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}),
    "qwen3": ("qwen3", {"head_dim": 20}),
    "qwen3-bias": ("qwen3", {"head_dim": 32, "attention_bias": True}),
    "qwen2-moe": ("qwen2_moe", {**SMALL_EXPERTS, "shared_expert_intermediate_size": 112}),
    "qwen2-moe-dense": (
        "qwen2_moe",
        {**SMALL_EXPERTS, "decoder_sparse_step": 2, "qkv_bias": False, "shared_expert_intermediate_size": 64},
    ),
    "qwen3-moe": ("qwen3_moe", {**SMALL_EXPERTS, "norm_topk_prob": True, "mlp_only_layers": [0]}),
    "qwen3-moe-undivided": ("qwen3_moe", {**SMALL_EXPERTS, "norm_topk_prob": False, "head_dim": 32}),
    "mixtral-window": ("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 1, "sliding_window": 16}),
}

# Sizes that the native kernels do not serve, and sizes that they do; the vocabulary is not whole blocks.
TORCH: dict[str, Any] = {}
NATIVE: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 80, "head_dim": 32, "vocab_size": 133}

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
    engine = open_engine(folder)
    for length in PROMPT_LENGTHS:
        token_ids = prompt(length)
        difference = (score(engine, token_ids) - hf_logits(model, token_ids)).abs().max().item()
        assert difference < 1e-4, f"prompt of {length}: logits differ by {difference}"
        assert greedy(engine, token_ids, 24) == hf_greedy(model, token_ids, 24), f"prompt of {length}"


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", [TORCH, NATIVE], ids=["torch", "native"])
def test_variant_equals_transformers(variant: str, shape: dict[str, Any], tmp_path: Path) -> None:
    family, fields = VARIANTS[variant]
    model = make_model(family, **{**shape, **fields})
    check_parity(model, save_model(model, tmp_path))


def test_dynamic_ntk_equals_transformers_at_the_engines_context(tmp_path: Path) -> None:
    """transformers grows the base with the longest sequence seen; the engine fixes it from its context."""
    rope = {"rope_type": "dynamic", "factor": 4.0, **ROPE}
    model = make_model("llama", rope_parameters=rope, max_position_embeddings=32)
    engine = open_engine(save_model(model, tmp_path), context_length=128)
    hf_logits(model, prompt(128))  # from here on its base is that of 128 tokens
    token_ids = prompt(90)
    assert (score(engine, token_ids) - hf_logits(model, token_ids)).abs().max() < 1e-4
    assert greedy(engine, token_ids, 24) == hf_greedy(model, token_ids, 24)


@pytest.mark.parametrize("old_style", [{"type": "linear", "factor": 2.5}, {"rope_type": "llama3", **LLAMA3}])
def test_rope_scaling_of_older_configs_means_the_same(old_style: dict[str, Any], tmp_path: Path) -> None:
    kind = old_style.get("type") or old_style["rope_type"]
    model = make_model("llama", rope_parameters={"rope_type": kind, **old_style, "rope_theta": 20000.0})
    config_file = save_model(model, tmp_path) / "config.json"
    config = json.loads(config_file.read_text())
    del config["rope_parameters"]
    config_file.write_text(json.dumps({**config, "rope_theta": 20000.0, "rope_scaling": old_style}))
    check_parity(model, tmp_path)


@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_shards_with_an_index_equal_a_single_file(family: str, tmp_path: Path) -> None:
    model = make_model(family)
    save_model(model, tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    check_parity(model, tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", ["llama", "mistral", "mixtral"])
@pytest.mark.parametrize("shape", [TORCH, NATIVE], ids=["torch", "native"])
def test_half_precision_files_are_widened_exactly(
    family: str, dtype: torch.dtype, shape: dict[str, Any], tmp_path: Path
) -> None:
    model = make_model(family, dtype=dtype, **shape)
    save_model(model, tmp_path)
    widened = type(model).from_pretrained(tmp_path, dtype=torch.float32).eval()
    check_parity(widened, tmp_path)


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_computing_in_half_precision_stays_near_full(dtype: str, tmp_path: Path) -> None:
    model = make_model("llama", initializer_range=0.05)
    engine = open_engine(save_model(model, tmp_path), dtype=dtype)
    token_ids = prompt(50)
    expected = hf_logits(model, token_ids)
    relative = (score(engine, token_ids) - expected).norm() / expected.norm()
    assert relative < 3e-2


def test_greedy_text_ends_at_a_stop_token(tmp_path: Path) -> None:
    model = make_model("llama")
    engine = open_engine(save_model(model, tmp_path))
    token_ids = prompt(9)
    expected = hf_greedy(model, token_ids, 10)
    stop = expected[4]
    engine.add("r", token_ids, SamplingParams(temperature=0, max_tokens=10, stop_token_ids=frozenset([stop])))
    outputs = [output for _ in range(20) if engine.has_work for output in engine.step()]
    produced = [token for output in outputs for token in output.token_ids]
    assert produced == expected[: expected.index(stop) + 1]
    assert outputs[-1].finish_reason == "stop"
