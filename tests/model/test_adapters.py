"""Requests with an adapter equal the model that peft merges it into."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from llmrt.engine.request import SamplingParams
from tests.adapters import make_adapter, merged
from tests.engines import open_engine, run, score, tokens
from tests.gguf_files import SHAPE as GGUF_SHAPE
from tests.gguf_files import write_gguf
from tests.model.parity import NATIVE, TORCH, hf_greedy, hf_logits, prompt
from tests.tiny import make_model, save_model

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}}
EXPERTS = {"num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 32}

VARIANTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "all": ("llama", {}, {"target_modules": ALL}),
    "attention": ("llama", {}, {"target_modules": ["q_proj", "v_proj"], "r": 20}),
    "all-linear": ("llama", {}, {"target_modules": "all-linear"}),
    "expression": ("llama", {}, {"target_modules": r".*\.1\..*(q_proj|down_proj)"}),
    "rank-stabilized": ("llama", {}, {"target_modules": ALL, "use_rslora": True, "lora_alpha": 4}),
    "patterns": (
        "llama",
        {},
        {
            "target_modules": ALL,
            "rank_pattern": {"down_proj": 3, r"layers\.1\.self_attn\.[qk]_proj": 17},
            "alpha_pattern": {"model.layers.0.self_attn.q_proj": 5, "o_proj": 40},
        },
    ),
    "biases": ("qwen2", {"tie_word_embeddings": True}, {"target_modules": ALL}),
    "head-norms": ("qwen3", {"head_dim": 32}, {"target_modules": ALL}),
    "norms-behind": ("gemma2", {"head_dim": 32}, {"target_modules": ALL}),
    "fused": ("phi3", {"pad_token_id": 0}, {"target_modules": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]}),
    "plain-mlp": ("phi", ROPE, {"target_modules": ["q_proj", "k_proj", "dense", "fc1", "fc2"]}),
    "fused-by-head": ("gpt_neox", ROPE, {"target_modules": ["query_key_value", "dense", "dense_h_to_4h"]}),
    "transposed": (
        "gpt2",
        {"n_embd": 128, "n_layer": 2, "n_head": 4, "n_positions": 256},
        {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True},
    ),
    "beside-experts": ("qwen2_moe", {**EXPERTS, "shared_expert_intermediate_size": 112}, {"target_modules": ALL[:4]}),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", [TORCH, NATIVE], ids=["torch", "native"])
def test_an_adapter_equals_the_model_that_peft_merges_it_into(
    variant: str, shape: dict[str, Any], tmp_path: Path
) -> None:
    family, fields, options = VARIANTS[variant]
    model = make_model(family, **{**shape, **fields})
    folder = save_model(model, tmp_path / "model")
    adapter = make_adapter(model, tmp_path / "adapter", **options)
    engine = open_engine(folder, adapters=(("tuned", str(adapter)),))
    plain = hf_logits(model, prompt(37))
    expected = merged(copy.deepcopy(model), adapter)
    for length in (1, 37, 100):
        token_ids = prompt(length)
        logits = hf_logits(expected, token_ids)
        assert (score(engine, token_ids, "tuned") - logits).abs().max() < 1e-4 * logits.abs().max().clamp(min=1)
        engine.add("tuned", token_ids, SamplingParams(temperature=0, max_tokens=24), "tuned")
        assert tokens(run(engine)["tuned"]) == hf_greedy(expected, token_ids, 24)
    assert (hf_logits(expected, prompt(37)) - plain).abs().max() > 0.1  # the adapter does something
    assert (score(engine, prompt(37)) - plain).abs().max() < 3e-4  # and nothing to who does not ask for it


@pytest.mark.parametrize(("family", "targets"), [("llama", ALL), ("gpt_neox", ["query_key_value", "dense"])])
def test_adapters_of_published_weights_fit_gguf_files(family: str, targets: list[str], tmp_path: Path) -> None:
    """Whose names, and order of rotated rows, are others."""
    model = make_model(family, **{**GGUF_SHAPE, "tie_word_embeddings": False})
    adapter = make_adapter(model, tmp_path / "adapter", target_modules=targets)
    engine = open_engine(write_gguf(model, tmp_path / "tiny.gguf"), adapters=(("tuned", str(adapter)),))
    logits = hf_logits(merged(copy.deepcopy(model), adapter), prompt(37))
    assert (score(engine, prompt(37), "tuned") - logits).abs().max() < 3e-4


def make_three(tmp_path: Path, **shape: Any) -> tuple[Any, Path, dict[str | None, Path | None]]:
    model = make_model("llama", **shape)
    folder = save_model(model, tmp_path / "model")
    adapters: dict[str | None, Path | None] = {None: None}
    for i, targets in enumerate((ALL, ["q_proj", "v_proj"], ["o_proj", "down_proj"])):
        adapters[f"a{i}"] = make_adapter(model, tmp_path / f"a{i}", seed=i, target_modules=targets, r=4 << i)
    return model, folder, adapters


@pytest.mark.parametrize("shape", [TORCH, NATIVE], ids=["torch", "native"])
def test_several_adapters_in_one_batch_answer_as_each_alone(shape: dict[str, Any], tmp_path: Path) -> None:
    model, folder, adapters = make_three(tmp_path, **shape)
    given = tuple((name, str(path)) for name, path in adapters.items() if name)
    engine = open_engine(folder, adapters=given)
    requests = {f"{name} {length}": (name, prompt(length)) for name in adapters for length in (5, 40)}
    for request_id, (name, token_ids) in requests.items():
        engine.add(request_id, token_ids, SamplingParams(temperature=0, max_tokens=16), name)
    outputs = run(engine)
    for request_id, (name, token_ids) in requests.items():
        path = adapters[name]
        alone = model if path is None else merged(copy.deepcopy(model), path)
        assert tokens(outputs[request_id]) == hf_greedy(alone, token_ids, 16), request_id


def test_prefixes_are_not_shared_between_adapters(tmp_path: Path) -> None:
    _, folder, adapters = make_three(tmp_path, **NATIVE)
    given = tuple((name, str(path)) for name, path in adapters.items() if name)
    engine = open_engine(folder, adapters=given, prefix_caching=True)
    token_ids, params = prompt(100), SamplingParams(temperature=0, max_tokens=4)
    for repeated in (False, True):
        for name in adapters:
            engine.add("r", token_ids, params, name)
            assert run(engine)["r"][0].num_cached_tokens == (96 if repeated else 0), name


@pytest.mark.parametrize("quant", ["int4", "int8"])
def test_quantized_models_take_adapters_within_what_quantizing_costs(quant: str, tmp_path: Path) -> None:
    model = make_model("llama", **{**NATIVE, "intermediate_size": 256})
    folder, adapter = save_model(model, tmp_path / "model"), make_adapter(model, tmp_path / "a", target_modules=ALL)
    engine = open_engine(folder, quant=quant, adapters=(("tuned", str(adapter)),), kv_dtype="fp32")
    token_ids = prompt(100)
    plain, expected = score(engine, token_ids), hf_logits(merged(copy.deepcopy(model), adapter), token_ids)
    cost = (plain - hf_logits(model, token_ids)).norm()
    assert (score(engine, token_ids, "tuned") - expected).norm() < 1.5 * cost
    assert cost < 0.5 * (plain - expected).norm()


def test_bf16_models_take_adapters(tmp_path: Path) -> None:
    model = make_model("llama", dtype=torch.bfloat16, **{**NATIVE, "initializer_range": 0.1})
    folder, adapter = save_model(model, tmp_path / "model"), make_adapter(model, tmp_path / "a", target_modules=ALL)
    engine = open_engine(folder, dtype="bf16", adapters=(("tuned", str(adapter)),))
    expected = hf_logits(merged(copy.deepcopy(model).float(), adapter), prompt(60))
    assert (score(engine, prompt(60), "tuned") - expected).norm() < 0.05 * expected.norm()
