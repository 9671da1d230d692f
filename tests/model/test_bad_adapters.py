"""Whatever is wrong with an adapter, one line names the file and the tensor or field, and the engine is as it was."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from llmrt.errors import CheckpointError
from tests.adapters import make_adapter
from tests.engines import greedy, open_engine
from tests.model.edits import Edit, edit_json, edit_weights, truncate
from tests.tiny import make_model, save_model

Q = "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(make_model("llama"), tmp_path_factory.mktemp("model"))


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return make_adapter(make_model("llama"), tmp_path, target_modules=["q_proj", "down_proj"])


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Edit:
    return edit_weights(change, "adapter_model.safetensors")


def config(**changes: Any) -> Edit:
    return edit_json("adapter_config.json", lambda values: values.update(changes))


def renamed(new: str) -> Edit:
    return tensors(lambda held: held.update({new: held.pop(Q)}))


def set_to(value: float) -> Edit:
    return tensors(lambda held: held[Q].view(-1)[3:4].fill_(value))


def pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def piped(name: str) -> Edit:
    def edit(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return edit


def linked_to_zeros(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.safetensors").symlink_to("/dev/zero")


BOTH = {"target_modules": ["q_proj", "down_proj"]}
FAULTS: dict[str, tuple[Edit, str]] = {
    "no folder": (lambda folder: [file.unlink() for file in folder.iterdir()], "has no adapter_model.safetensors"),
    "a pickle": (pickled, "is a pickle"),
    "truncated": (truncate("adapter_model.safetensors", 0.9), r"adapter_model.safetensors is truncated"),
    "a pipe": (piped("adapter_config.json"), "adapter_config.json is no file but a pipe"),
    "a device": (linked_to_zeros, "adapter_model.safetensors is no file but a pipe, a socket or a device"),
    "no config": (lambda folder: (folder / "adapter_config.json").unlink(), "adapter_config.json is missing"),
    "no json": (lambda folder: (folder / "adapter_config.json").write_text("{"), "is not valid JSON"),
    "another kind": (config(peft_type="IA3"), "peft_type is 'IA3'"),
    "dora": (config(use_dora=True), "use_dora is set, which cannot be added to a model as it runs"),
    "biases": (config(bias="all"), "bias is 'all'"),
    "biases of the matrices": (config(lora_bias=True), "lora_bias is set"),
    "whole modules": (config(modules_to_save=["lm_head"]), "modules_to_save is set"),
    "changed weights": (config(init_lora_weights="pissa_niter_4"), "init_lora_weights"),
    "rank 0": (config(r=0), "r is 0"),
    "another rank": (config(r=4), rf"{Q.replace('1.self_attn.q', '0.mlp.down')} has shape \[8, 88\].*gives it rank 4"),
    "a rank that is text": (config(r="8"), "r is '8', not of type int"),
    "a pattern that is none": (config(rank_pattern={"(": 3}), r"'\(' is no regular expression"),
    "a pattern of another rank": (config(rank_pattern={"layers.1.self_attn.q_proj": 3}), "rank 3"),
    "a pattern that never ends": (config(alpha_pattern={"((a|a)*)*b" * 99: 3}), "^$"),
    "a target without tensors": (config(target_modules=["q_proj", "down_proj", "up_proj"]), "'up_proj' in target"),
    "tensors of no target": (config(target_modules=["q_proj"]), "no such target_modules"),
    "a stranger": (renamed("base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight"), "without its other half"),
    "half of one": (tensors(lambda held: held.pop(Q)), "q_proj.lora_B.weight is there without its other half"),
    "another name": (renamed("x\ny"), r"tensor 'x\\ny' is not one"),
    "dora's tensor": (
        renamed(Q.replace("lora_A.weight", "lora_magnitude_vector")),
        "lora_magnitude_vector' is not one",
    ),
    "a NaN": (set_to(float("nan")), f"{Q} holds NaN"),
    "infinity": (set_to(float("inf")), f"{Q} holds NaN or infinity"),
    "integers": (tensors(lambda held: held.update({Q: held[Q].to(torch.int8)})), f"{Q} is of type torch.int8"),
    "one dimension": (tensors(lambda held: held.update({Q: held[Q][0].clone()})), rf"{Q} has shape \[48\]"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_and_changes_nothing(fault: str, model: Path, adapter: Path) -> None:
    edit, message = FAULTS[fault]
    edit(adapter)
    if message == "^$":
        open_engine(model, adapters=(("a", str(adapter)),))  # what would take Python's expressions forever is done
        return
    with pytest.raises(CheckpointError, match=message) as raised:
        open_engine(model, adapters=(("a", str(adapter)),))
    assert "\n" not in str(raised.value) and str(adapter) in str(raised.value)
    engine = open_engine(model)
    before = greedy(engine, [5, 6, 7], 8)
    with pytest.raises(CheckpointError, match=message):
        engine.load_adapter("a", adapter)
    assert greedy(engine, [5, 6, 7], 8) == before


@pytest.mark.parametrize(
    ("family", "fields", "targets", "message"),
    [
        (
            "llama",
            {"hidden_size": 64},
            ["q_proj"],
            r"layers.0.self_attn.q_proj is made for \[64, 64\].* has \[48, 48\]",
        ),
        ("llama", {"num_hidden_layers": 3}, ["q_proj"], "layers.2.self_attn.q_proj is not in this model, a llama"),
        ("gpt_neox", {}, ["query_key_value"], "query_key_value is not in this model"),
        ("llama", {}, ["lm_head"], "lm_head.base_layer.weight' is not one"),
        ("llama", {}, ["embed_tokens"], "embed_tokens.base_layer.weight' is not one"),
    ],
)
def test_an_adapter_of_another_model_is_refused(
    family: str, fields: dict[str, Any], targets: list[str], message: str, model: Path, tmp_path: Path
) -> None:
    adapter = make_adapter(make_model(family, **fields), tmp_path, target_modules=targets)
    with pytest.raises(CheckpointError, match=message) as raised:
        open_engine(model, adapters=(("a", str(adapter)),))
    assert str(adapter) in str(raised.value)


def test_experts_are_not_adapted(tmp_path: Path) -> None:
    made = make_model("mixtral", num_local_experts=4, num_experts_per_tok=2)
    folder = save_model(made, tmp_path / "model")
    adapter = make_adapter(made, tmp_path / "a", target_modules=["q_proj"])
    expert = "base_model.model.model.layers.0.block_sparse_moe.experts.0.w1"
    tensors(lambda held: held.update({f"{expert}.lora_A.weight": torch.ones(8, 48)}))(adapter)
    tensors(lambda held: held.update({f"{expert}.lora_B.weight": torch.ones(88, 8)}))(adapter)
    config(target_modules=["q_proj", "w1"])(adapter)
    with pytest.raises(CheckpointError, match=r"experts\.0\.w1 is not q, k, v"):
        open_engine(folder, adapters=(("a", str(adapter)),))
