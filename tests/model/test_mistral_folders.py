"""Folders as Mistral's own programs read them, params.json and consolidated.safetensors, are the models they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from llmrt.config import EngineConfig
from llmrt.engine.conversion.quantized_folder import write_quantized
from llmrt.errors import CheckpointError
from llmrt.hub.local import local_artifact
from llmrt.model.checkpoints.checkpoint import open_checkpoint
from llmrt.model.checkpoints.config_files import read_config
from tests.engines import greedy, open_engine
from tests.gguf_files import permute
from tests.model.parity import check_parity, prompt
from tests.quantizers import fp8
from tests.tiny import make_model, save_model

NAMES = {
    "model.embed_tokens": "tok_embeddings",
    "model.layers": "layers",
    "model.norm": "norm",
    "lm_head": "output",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attention.wq",
    "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv",
    "self_attn.o_proj": "attention.wo",
    "block_sparse_moe": "feed_forward",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.up_proj": "feed_forward.w3",
    "mlp.down_proj": "feed_forward.w2",
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "no window": ("mistral", {"sliding_window": None, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
    "window": ("mistral", {"sliding_window": 16}),
    "theta": (
        "mistral",
        {"sliding_window": None, "rope_parameters": {"rope_type": "default", "rope_theta": 3e4}, "head_dim": 32},
    ),
    "experts": (
        "mixtral",
        {
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "sliding_window": None,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        },
    ),
}
SHAPE = {"hidden_size": 128, "intermediate_size": 192, "vocab_size": 133}


def params_of(config: Any) -> dict[str, Any]:
    params = {
        "dim": config.hidden_size,
        "n_layers": config.num_hidden_layers,
        "head_dim": config.head_dim or config.hidden_size // config.num_attention_heads,
        "hidden_dim": config.intermediate_size,
        "n_heads": config.num_attention_heads,
        "n_kv_heads": config.num_key_value_heads,
        "norm_eps": config.rms_norm_eps,
        "vocab_size": config.vocab_size,
    }
    if config.sliding_window:
        params["sliding_window"] = config.sliding_window
    if config.rope_parameters["rope_theta"] not in (1e4, 1e6):
        params["rope_theta"] = config.rope_parameters["rope_theta"]
    if config.model_type == "mixtral":
        params["moe"] = {"num_experts": config.num_local_experts, "num_experts_per_tok": config.num_experts_per_tok}
    return params


def own_names(model: PreTrainedModel, scratch: Path) -> dict[str, Tensor]:
    """The published tensors under Mistral's names, rows of q and k in the order of rotating neighbours."""
    config, out = model.config, {}
    for name, tensor in load_file(save_model(model, scratch) / "model.safetensors").items():
        if "q_proj" in name:
            tensor = permute(tensor, config.num_attention_heads)
        if "k_proj" in name:
            tensor = permute(tensor, config.num_key_value_heads)
        for old, new in NAMES.items():
            name = name.replace(old, new)
        out[name] = tensor.contiguous()
    return out


def mistral_folder(folder: Path, family: str = "no window") -> PreTrainedModel:
    name, fields = FAMILIES[family]
    model = make_model(name, **SHAPE, **fields)
    tensors = own_names(model, folder.parent / "published")
    folder.mkdir()
    (folder / "params.json").write_text(json.dumps(params_of(model.config)))
    save_file(tensors, folder / "consolidated.safetensors")
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_text_is_that_of_the_published_folder(family: str, tmp_path: Path) -> None:
    check_parity(mistral_folder(tmp_path / "own", family), tmp_path / "own")


def test_shards(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    model = mistral_folder(folder)
    tensors = load_file(folder / "consolidated.safetensors")
    (folder / "consolidated.safetensors").unlink()
    weight_map = {name: f"consolidated-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(tensors)}
    for shard in set(weight_map.values()):
        save_file({name: tensors[name] for name in tensors if weight_map[name] == shard}, folder / shard)
    with pytest.raises(CheckpointError, match=r"has 2 safetensors files but no consolidated\.safetensors\.index\.json"):
        open_engine(folder)
    (folder / "consolidated.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert local_artifact(str(folder)) is not None
    check_parity(model, folder)
    (folder / "consolidated-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"00002.safetensors is missing, but consolidated\.safetensors\.index"):
        open_engine(folder)


def test_fp8_as_mistral_writes_it(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    mistral_folder(folder)
    params = json.loads((folder / "params.json").read_text())
    said = {"qformat_weight": "fp8_e4m3", "qscheme_act": "TENSOR"}
    (folder / "params.json").write_text(json.dumps({**params, "quantization": said}))
    tensors, expected = load_file(folder / "consolidated.safetensors"), {}
    for name in [name for name in tensors if "attention.w" in name or "feed_forward" in name]:
        members, expected[name] = fp8(name="qscale_weight")(tensors.pop(name))
        module = name.removesuffix(".weight")
        tensors |= {f"{module}.{key}": held for key, held in members.items() if key != "input_scale"}
        tensors[f"{module}.qscale_act"] = torch.ones(())
    save_file(tensors, folder / "consolidated.safetensors")
    checkpoint = open_checkpoint(folder)
    assert all(torch.equal(checkpoint.load(name), matrix) for name, matrix in expected.items())


def test_a_folder_with_both_layouts_is_read_by_config_json(tmp_path: Path) -> None:
    mistral_folder(tmp_path / "own")
    published = tmp_path / "published"
    (published / "params.json").write_text("{}")
    (published / "consolidated.safetensors").write_bytes(b"")
    open_engine(published)


def test_packed_it_is_still_the_model(tmp_path: Path) -> None:
    mistral_folder(tmp_path / "own")
    write_quantized(open_checkpoint(tmp_path / "own"), tmp_path / "packed", EngineConfig(quant="int8"), lambda _: None)
    token_ids = prompt(20)
    own, packed = (greedy(open_engine(tmp_path / name, quant="int8"), token_ids, 12) for name in ("own", "packed"))
    assert own == packed


CASES: dict[str, tuple[dict[str, Any], str]] = {
    "vision": (
        {"vision_encoder": {"hidden_size": 8}},
        "vision_encoder is not supported in this layout; use",
    ),
    "window of each layer": ({"sliding_window": [16, None]}, r"sliding_window is \[16, None\], not of type int"),
    "missing": ({"dim": None}, "params.json: the field dim is missing"),
    "experts": ({"moe": {"num_experts": 2, "num_experts_per_tok": 3}}, "num_experts_per_tok 3 is above 2"),
    "quantized": ({"quantization": {"bits": 4}}, "qformat_weight is ''; supported is fp8_e4m3"),
    "heads": ({"n_kv_heads": 3}, "n_heads 4 is not a multiple of n_kv_heads 3"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_params(case: str, tmp_path: Path) -> None:
    changes, message = CASES[case]
    folder = tmp_path / "own"
    mistral_folder(folder)
    params = json.loads((folder / "params.json").read_text())
    (folder / "params.json").write_text(json.dumps({**params, **changes}))
    with pytest.raises(CheckpointError, match=message) as caught:
        open_engine(folder)
    assert str(folder) in str(caught.value)


def test_context_of_a_folder_that_does_not_say(tmp_path: Path) -> None:
    mistral_folder(tmp_path / "own")
    assert read_config(tmp_path / "own").context_length == 32768
