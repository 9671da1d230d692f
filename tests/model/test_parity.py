"""Logits and greedy text equal those of transformers, for every variant of the decoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from llmrt.engine.request import SamplingParams
from tests.engines import greedy, open_engine, score
from tests.model.parity import (
    ALL_ROTATED,
    DEFAULT,
    GRANITE,
    LLAMA3,
    NATIVE,
    NEW_FALCON,
    ROPE,
    SMALL_EXPERTS,
    TORCH,
    check_parity,
    hf_greedy,
    hf_logits,
    prompt,
)
from tests.tiny import make_model, save_model

YARN = {"factor": 4.0, "original_max_position_embeddings": 64}
GPT_SHAPE = {"n_embd": 128, "n_layer": 2, "n_head": 4, "n_positions": 256}
GPT_NEO = {
    "window_size": 16,
    "attention_types": [[["global", "local"], 1]],
}
SIX_HEADS = {"num_attention_heads": 6, "hidden_size": 192}
TWO_OF_THREE = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}

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
    "phi3": ("phi3", {"sliding_window": 16, "num_key_value_heads": 2, "pad_token_id": 0}),
    "phi3-partly-rotated": ("phi3", {"pad_token_id": 0, "rope_parameters": {"partial_rotary_factor": 0.5, **DEFAULT}}),
    "gemma": ("gemma", {"head_dim": 32}),
    "gemma2": ("gemma2", {"head_dim": 32, "sliding_window": 16, "query_pre_attn_scalar": 24}),
    "gemma2-low-caps": (
        "gemma2",
        {"head_dim": 32, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0, "sliding_window": 300},
    ),
    "gemma2-no-caps": ("gemma2", {"head_dim": 32, "attn_logit_softcapping": None, "final_logit_softcapping": None}),
    "gemma3": ("gemma3_text", {"head_dim": 32, "sliding_window": 16, "num_hidden_layers": 3, **TWO_OF_THREE}),
    "phi": ("phi", {"rope_parameters": {"partial_rotary_factor": 0.5, **DEFAULT}}),
    "gpt-neox": ("gpt_neox", {"rope_parameters": {"partial_rotary_factor": 0.5, **DEFAULT}}),
    "gpt-neox-in-turn": ("gpt_neox", {"use_parallel_residual": False, "attention_bias": False, **ALL_ROTATED}),
    "gptj": ("gptj", {**GPT_SHAPE, "rotary_dim": 8}),
    "gpt2": ("gpt2", GPT_SHAPE),
    "falcon": ("falcon", {"new_decoder_architecture": False}),
    "falcon-many-heads": ("falcon", {"multi_query": False, "bias": True}),
    "falcon-two-norms": ("falcon", NEW_FALCON),
    "falcon-new-one-norm": ("falcon", {**NEW_FALCON, "num_ln_in_parallel_attn": 1}),
    "falcon-alibi": ("falcon", {"alibi": True, "multi_query": False, "bias": True, "parallel_attn": False}),
    "gpt-neo": ("gpt_neo", GPT_NEO),
    "opt": ("opt", {"ffn_dim": 80, "word_embed_proj_dim": None}),
    "opt-no-bias": ("opt", {"ffn_dim": 80, "enable_bias": False}),
    "bloom": ("bloom", {}),
    "bloom-odd-heads": ("bloom", SIX_HEADS),
    "mpt": ("mpt", {}),
    "mpt-odd-heads": ("mpt", {**SIX_HEADS, "attn_config": {"softmax_scale": 0.3}}),
    "cohere": ("cohere", {"logit_scale": 0.5}),
    "cohere-qk-norm": ("cohere", {"use_qk_norm": True, "attention_bias": True}),
    "cohere2": ("cohere2", {"sliding_window": 16, "num_hidden_layers": 3, **TWO_OF_THREE}),
    "stablelm": ("stablelm", {"rope_parameters": {"partial_rotary_factor": 0.5, **DEFAULT}, "use_qkv_bias": True}),
    "stablelm-parallel": ("stablelm", {"use_parallel_residual": True, **ALL_ROTATED}),
    "starcoder2": ("starcoder2", {"sliding_window": 16}),
    "olmo2": ("olmo2", {}),
    "granite": ("granite", GRANITE),
    "mixtral-window": ("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 1, "sliding_window": 16}),
}


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


@pytest.mark.parametrize(("context_length", "length"), [(64, 60), (128, 100)])
def test_longrope_equals_transformers_on_either_side_of_the_original_context(
    context_length: int, length: int, tmp_path: Path
) -> None:
    """transformers chooses divisors by the sequence's length; the engine by its context."""
    factors = {"short_factor": [1.0, 1.1, 1.3, 1.5, 2.0, 2.5], "long_factor": [1.5, 2.0, 3.0, 5.0, 7.0, 9.0]}
    rope = {"rope_type": "longrope", "original_max_position_embeddings": 64, **factors, **ROPE}
    fields = {"max_position_embeddings": 256, "original_max_position_embeddings": 64, "pad_token_id": 0}
    model = make_model("phi3", rope_parameters=rope, **fields)
    engine = open_engine(save_model(model, tmp_path), context_length=context_length)
    token_ids = prompt(length)
    assert (score(engine, token_ids) - hf_logits(model, token_ids)).abs().max() < 1e-4


INTERNLM2 = {
    "model.embed_tokens": "model.tok_embeddings",
    "lm_head": "output",
    "input_layernorm": "attention_norm",
    "self_attn.o_proj": "attention.wo",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.up_proj": "feed_forward.w3",
    "mlp.down_proj": "feed_forward.w2",
}


def test_internlm2_is_a_llama_by_other_names(tmp_path: Path) -> None:
    """transformers has no InternLM2; a Llama's tensors under its names are the same model."""
    model = make_model("llama")
    file = save_model(model, tmp_path) / "model.safetensors"
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in load_file(file).items():
        for old, new in INTERNLM2.items():
            name = name.replace(old, new)
        renamed[name] = tensor
    for layer in ("model.layers.0.", "model.layers.1."):
        q, k, v = (renamed.pop(f"{layer}self_attn.{kind}_proj.weight").unflatten(0, (-1, 12)) for kind in "qkv")
        by_kv_head = [torch.cat((q[2 * i : 2 * i + 2].flatten(0, 1), k[i], v[i])) for i in range(2)]
        renamed[f"{layer}attention.wqkv.weight"] = torch.cat(by_kv_head)
    save_file(renamed, file)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "internlm2", "bias": False}))
    check_parity(model, tmp_path)


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
