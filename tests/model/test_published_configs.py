"""Families that published models alone show: the fields of their config.json, and what is refused of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from llmrt.errors import CheckpointError
from llmrt.model.checkpoints.tensor_slots import num_parameters
from llmrt.model.families.alibi import alibi_slopes
from llmrt.model.families.registry import read_model_config
from llmrt.model.fields import Fields
from tests.model.parity import check_parity
from tests.tiny import make_model, save_model

GPT_NEO = {"model_type": "gpt_neo", "vocab_size": 50257, "hidden_size": 2560, "num_layers": 32, "num_heads": 20}
OPT = {"model_type": "opt", "vocab_size": 50272, "hidden_size": 2048, "num_hidden_layers": 24, "ffn_dim": 8192}
BLOOM = {"model_type": "bloom", "vocab_size": 250880, "n_layer": 24, "num_attention_heads": 16}
MPT = {"model_type": "mpt", "vocab_size": 50432, "d_model": 4096, "n_layers": 32, "n_heads": 32, "expansion_ratio": 4}
FALCON = {"model_type": "falcon", "vocab_size": 65024, "hidden_size": 8192, "num_hidden_layers": 60}
COHERE = {"vocab_size": 256000, "num_attention_heads": 64, "num_hidden_layers": 40, "hidden_size": 8192}
COHERE2 = {"vocab_size": 256000, "num_attention_heads": 32, "num_hidden_layers": 32, "hidden_size": 4096}

# Billions of parameters as the models' pages count them.
MODELS: dict[str, tuple[dict[str, Any], float]] = {
    "gpt-neo-2.7b": ({**GPT_NEO, "attention_layers": ["global", "local"] * 16}, 2.65),
    "opt-1.3b": ({**OPT, "num_attention_heads": 32, "word_embed_proj_dim": 2048, "do_layer_norm_before": True}, 1.316),
    "bloom-560m": ({**BLOOM, "n_embed": 1024}, 0.559),
    "mpt-7b": ({**MPT, "attn_config": {"alibi": True, "clip_qkv": None}, "no_bias": True, "max_seq_len": 2048}, 6.65),
    "falcon-40b": (
        {**FALCON, "num_attention_heads": 128, "num_kv_heads": 8, "new_decoder_architecture": True},
        41.3,
    ),
    "command-r": ({"model_type": "cohere", **COHERE, "intermediate_size": 22528}, 34.98),
    "command-r7b": (
        {"model_type": "cohere2", **COHERE2, "intermediate_size": 14336, "num_key_value_heads": 8},
        8.03,
    ),
}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "opt-350m": ({**OPT, "word_embed_proj_dim": 512}, "word_embed_proj_dim is 512; supported is hidden_size, 2048"),
    "norms behind": ({**OPT, "do_layer_norm_before": False}, "do_layer_norm_before is false, which is not supported"),
    "storywriter": ({**MPT, "attn_config": {"clip_qkv": 6}}, "attn_config: clip_qkv is set, which is not supported"),
    "mpt without ALiBi": ({**MPT, "attn_config": {"alibi": False}}, "alibi is false, which is not supported"),
    "one key head": (
        {**MPT, "attn_config": {"attn_type": "multiquery_attention"}},
        "attn_type is 'multiquery_attention'; supported is multihead_attention",
    ),
    "mpt's logits": ({**MPT, "logit_scale": "inv_sqrt_d_model"}, "logit_scale is set, which is not supported"),
    "layers unsaid": (GPT_NEO, "attention_layers has 0 entries for 32 layers"),
    "layers unknown": (
        {**GPT_NEO, "attention_layers": ["global", "near"] * 16},
        "attention_layers has 'near'; known are global, local",
    ),
}


@pytest.mark.parametrize("model", MODELS)
def test_published_fields_give_as_many_parameters_as_published(model: str) -> None:
    fields, billions = MODELS[model]
    config = read_model_config(Fields(fields, "config.json"))
    assert num_parameters(config) / 1e9 == pytest.approx(billions, rel=2e-3)


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_computed_is_refused_in_a_line(case: str) -> None:
    fields, message = REFUSED[case]
    with pytest.raises(CheckpointError, match=message):
        read_model_config(Fields(fields, "config.json"))


def test_slopes_are_the_papers() -> None:
    assert alibi_slopes(8) == tuple(2.0**-i for i in range(1, 9))
    assert alibi_slopes(16) == tuple(2.0 ** (-i / 2) for i in range(1, 17))
    assert alibi_slopes(12) == (*alibi_slopes(8), *alibi_slopes(16)[::2][:4])
    assert alibi_slopes(4, 16.0, 0.5) == tuple(0.5 * 2.0 ** (-4 * i) for i in range(1, 5))


@pytest.mark.parametrize("family", ["bloom", "opt"])
def test_a_model_that_was_saved_without_its_head_has_no_prefix(family: str, tmp_path: Path) -> None:
    model = make_model(family)
    file = save_model(model, tmp_path) / "model.safetensors"
    save_file({name.partition(".")[2]: tensor for name, tensor in load_file(file).items()}, file)
    check_parity(model, tmp_path)
