"""GGUF files, laid out as llama.cpp's converter does and written by the gguf library, load as the model they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from transformers import PreTrainedModel

from llmrt.errors import CheckpointError
from llmrt.model.checkpoints.checkpoint import open_checkpoint
from llmrt.model.config import YarnScaling
from llmrt.model.modules.rope import inv_freq
from tests.engines import greedy, open_engine, score
from tests.gguf_files import SHAPE, round_weights, write_gguf
from tests.model.parity import (
    ALL_ROTATED,
    DEFAULT,
    GRANITE,
    LLAMA3,
    NEW_FALCON,
    ROPE,
    SMALL_EXPERTS,
    hf_greedy,
    hf_logits,
    prompt,
)
from tests.tiny import make_model


def check(model: PreTrainedModel, path: Path) -> None:
    engine = open_engine(path, quant="none")
    token_ids = prompt(60)
    assert (score(engine, token_ids) - hf_logits(model, token_ids)).abs().max() < 1e-4
    assert greedy(engine, token_ids, 24) == hf_greedy(model, token_ids, 24)


@pytest.mark.parametrize(
    ("family", "fields"),
    [
        ("llama", {}),
        ("llama", {"tie_word_embeddings": True}),
        ("llama", {"attention_bias": True}),
        ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.5, **ROPE}}),
        (
            "llama",
            {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, **ROPE}},
        ),
        ("mistral", {"sliding_window": None}),
        ("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
        ("qwen2", {}),
        ("qwen3", {"head_dim": 32, "tie_word_embeddings": True}),
        ("qwen2_moe", {**SMALL_EXPERTS, "shared_expert_intermediate_size": 112}),
        ("qwen3_moe", {**SMALL_EXPERTS, "norm_topk_prob": True, "head_dim": 32}),
        ("phi", {"rope_parameters": {"partial_rotary_factor": 0.5, **DEFAULT}, "num_key_value_heads": 4}),
        ("phi3", {"sliding_window": 16, "pad_token_id": 0}),
        ("gemma", {"head_dim": 32}),
        ("gemma2", {"head_dim": 32, "sliding_window": 16, "query_pre_attn_scalar": 32}),
        ("gpt_neox", {"rope_parameters": {"partial_rotary_factor": 0.5, **DEFAULT}}),
        ("gpt2", {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256}),
        ("falcon", {"new_decoder_architecture": False}),
        ("falcon", NEW_FALCON),
        ("bloom", {}),
        ("mpt", {"attn_config": {"softmax_scale": None}}),
        ("cohere", {"logit_scale": 0.5}),
        ("cohere", {"use_qk_norm": True}),
        ("cohere2", {"sliding_window": 16, "num_hidden_layers": 5}),
        ("stablelm", {"rope_parameters": {"partial_rotary_factor": 0.5, **DEFAULT}, "use_qkv_bias": True}),
        ("stablelm", {"use_parallel_residual": True, **ALL_ROTATED}),
        ("starcoder2", {"sliding_window": 16}),
        ("olmo2", {}),
        ("granite", GRANITE),
    ],
)
def test_written_model_equals_transformers(family: str, fields: dict[str, Any], tmp_path: Path) -> None:
    model = make_model(family, **SHAPE, **fields)
    check(model, write_gguf(model, tmp_path / "tiny.gguf"))


@pytest.mark.parametrize("kind", [Kind.F16, Kind.BF16, Kind.Q4_0, Kind.Q4_1, Kind.Q5_0, Kind.Q5_1, Kind.Q8_0])
def test_each_stored_type_is_unpacked_as_the_library_does(kind: Kind, tmp_path: Path) -> None:
    model = make_model("llama", **SHAPE)
    path = write_gguf(model, tmp_path / "tiny.gguf", kind)
    check(round_weights(model, kind), path)


def test_an_internlm2_file_is_a_llama_by_another_name(tmp_path: Path) -> None:
    model = make_model("llama", **SHAPE)
    check(model, write_gguf(model, tmp_path / "tiny.gguf", architecture="internlm2"))


def test_rope_freqs_are_llama3s_scaling_resolved(tmp_path: Path) -> None:
    model = make_model("llama", **SHAPE, rope_parameters={"rope_type": "llama3", **LLAMA3, **ROPE})
    plain = 10000.0 ** (-np.arange(0, 16, 2) / 16)
    divisors = (plain / model.model.rotary_emb.inv_freq.numpy()).astype(np.float32)
    check(model, write_gguf(model, tmp_path / "tiny.gguf", extra={"rope_freqs.weight": divisors}))


def test_yarn_metadata_gives_the_papers_attention_factor(tmp_path: Path) -> None:
    rope = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, **ROPE}
    model = make_model("llama", **SHAPE, rope_parameters=rope)
    config = open_checkpoint(write_gguf(model, tmp_path / "tiny.gguf")).config
    assert isinstance(config.rope.scaling, YarnScaling)
    assert config.rope.scaling.attention_factor == pytest.approx(0.1 * np.log(4.0) + 1)
    torch.testing.assert_close(inv_freq(config.rope, 16, 256).float(), model.model.rotary_emb.inv_freq)


def test_a_mixtral_files_numbers_are_read(tmp_path: Path) -> None:
    model = make_model("mixtral", **SHAPE, num_local_experts=4, num_experts_per_tok=3)
    config = open_checkpoint(write_gguf(model, tmp_path / "tiny.gguf")).config
    assert config.moe is not None
    assert (config.moe.num_experts, config.moe.num_active) == (4, 3)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: data[:100], "not a GGUF file|ends at byte"),
        (lambda data: data[:-200], "truncated|ends|not a GGUF"),
        (lambda data: b"PK\x03\x04" + data[4:], "not a GGUF"),
        (lambda data: b"", "not a GGUF"),
    ],
)
def test_broken_files_are_one_clear_line(spoil: Any, message: str, tmp_path: Path) -> None:
    path = write_gguf(make_model("llama", **SHAPE), tmp_path / "tiny.gguf")
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(CheckpointError, match=message) as caught:
        open_engine(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_architecture_names_those_that_are_known(tmp_path: Path) -> None:
    path = write_gguf(make_model("llama", **SHAPE), tmp_path / "tiny.gguf", architecture="rwkv7")
    with pytest.raises(CheckpointError, match=r"tiny.gguf: .*'rwkv7'; supported are llama"):
        open_engine(path)
