"""Whatever is wrong with a folder, one line names the file and the tensor or field, and nothing is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from llmrt.errors import CheckpointError
from llmrt.hub.sources import resolve
from tests.engines import open_engine
from tests.model.edits import Edit, edit_json, edit_weights, truncate
from tests.tiny import make_model, save_model

Q = "model.layers.1.self_attn.q_proj.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_model(make_model("llama"), tmp_path)


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    return save_model(make_model("llama"), tmp_path, max_shard_size="40KB")


def config(**changes: Any) -> Edit:
    return edit_json("config.json", lambda values: values.update(changes))


def spoil(tensors: dict[str, torch.Tensor], value: float) -> None:
    tensors[Q][3, 5] = value


def only_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


CASES: dict[str, tuple[Edit, str]] = {
    "missing tensor": (edit_weights(lambda t: t.pop(Q)), rf"tensor {Q} is missing"),
    "extra tensor": (
        edit_weights(lambda t: t.update({"model.layers.2.mlp.up_proj.weight": torch.zeros(2)})),
        r"model.safetensors: tensor model.layers.2.mlp.up_proj.weight has no place",
    ),
    "extra bias": (
        edit_weights(lambda t: t.update({"model.layers.0.self_attn.q_proj.bias": torch.zeros(48)})),
        r"q_proj.bias has no place in a llama model of this configuration",
    ),
    "misshapen": (
        edit_weights(lambda t: t.update({Q: torch.zeros(48, 47)})),
        rf"model.safetensors: tensor {Q} has shape \[48, 47\]; the configuration asks for \[48, 48\]",
    ),
    "NaN": (edit_weights(lambda t: spoil(t, float("nan"))), rf"model.safetensors: tensor {Q} holds NaN or infinity"),
    "infinity": (edit_weights(lambda t: spoil(t, float("-inf"))), rf"tensor {Q} holds NaN or infinity"),
    "integer tensor": (
        edit_weights(lambda t: t.update({Q: torch.zeros(48, 48, dtype=torch.int32)})),
        rf"model.safetensors: tensor {Q} is of type torch.int32",
    ),
    "truncated data": (truncate("model.safetensors", 0.7), "model.safetensors is truncated or not a safetensors file"),
    "truncated header": (truncate("model.safetensors", 0.001), "model.safetensors is truncated or not"),
    "empty file": (truncate("model.safetensors", 0), "model.safetensors is truncated or not"),
    "config not JSON": (truncate("config.json", 0.5), "config.json is not valid JSON"),
    "config a list": (lambda f: (f / "config.json").write_text("[]") and None, "config.json holds a list"),
    "config nested": (lambda f: (f / "config.json").write_text("[" * 100_000), "not valid JSON: it is nested too"),
    "config missing": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "unknown architecture": (
        config(model_type="rwkv", architectures=["RwkvForCausalLM"]),
        r"model_type 'rwkv' \(RwkvForCausalLM\) is not supported; known are llama, mistral, mixtral, .*internlm2",
    ),
    "field missing": (config(hidden_size=None), "config.json: the field hidden_size is missing"),
    "field of another type": (
        config(hidden_size="48"),
        "hidden_size is '48', not of type int",
    ),
    "field below one": (config(num_hidden_layers=0), "num_hidden_layers is 0; it must be above 0"),
    "heads that do not divide": (config(num_key_value_heads=3), "not a multiple"),
    "unknown activation": (config(hidden_act="mish"), "hidden_act is 'mish'; known are silu"),
    "unknown rope": (
        config(rope_parameters={"rope_type": "spiral", "rope_theta": 1e4}),
        "rope_type is 'spiral'; known are default, linear, llama3, yarn, dynamic, longrope",
    ),
    "rope field missing": (
        config(rope_parameters={"rope_type": "llama3", "factor": 8.0}),
        "low_freq_factor is missing",
    ),
    "quantized elsewhere": (
        config(quantization_config={"bits": 4}),
        "quantization_config: quant_method is ''",
    ),
    "pickle only": (only_pickle, "can run any code"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "has no .safetensors file"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_folder(case: str, folder: Path) -> None:
    edit, message = CASES[case]
    edit(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_engine(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_index_that_names_a_missing_shard(sharded: Path) -> None:
    shard = sorted(sharded.glob("*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(CheckpointError, match=rf"{shard.name} is missing, but model.safetensors.index.json names it"):
        open_engine(sharded)


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, '{"weight_map": 5}'])
def test_index_that_is_none(sharded: Path, text: str) -> None:
    (sharded / "model.safetensors.index.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json"):
        open_engine(sharded)
    with pytest.raises(CheckpointError, match=r"index\.json has no readable weight_map"):
        resolve(str(sharded), report=print)


def test_index_that_places_a_tensor_in_the_wrong_shard(sharded: Path) -> None:
    index = sharded / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    shards = sorted(set(content["weight_map"].values()))
    name = next(name for name, shard in content["weight_map"].items() if shard == shards[0])
    content["weight_map"][name] = shards[1]
    index.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=rf"{shards[1]} lacks the tensor {name}"):
        open_engine(sharded)


def test_index_that_points_outside_the_folder(sharded: Path) -> None:
    index = sharded / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"][Q] = "../secret.safetensors"
    index.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="not a file name"):
        open_engine(sharded)


def test_shards_without_an_index(sharded: Path) -> None:
    (sharded / "model.safetensors.index.json").unlink()
    with pytest.raises(CheckpointError, match=r"no model.safetensors.index.json"):
        open_engine(sharded)


def test_a_tied_head_that_differs_from_the_table(tmp_path: Path) -> None:
    folder = save_model(make_model("llama"), tmp_path)
    config(tie_word_embeddings=True)(folder)
    with pytest.raises(CheckpointError, match=r"lm_head\.weight differs from model\.embed_tokens\.weight"):
        open_engine(folder)


def test_a_tied_head_that_equals_the_table_and_derived_tables_are_no_fault(tmp_path: Path) -> None:
    folder = save_model(make_model("llama", tie_word_embeddings=True), tmp_path)

    def add(tensors: dict[str, torch.Tensor]) -> None:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(6)

    edit_weights(add)(folder)
    open_engine(folder)
