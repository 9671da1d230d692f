"""``--lora`` of generate and chat, and ``llmrt merge``."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.adapters import make_adapter, merged
from tests.cli.conftest import CommandLine
from tests.cli.tiny_model import make_tiny_llama
from tests.tiny import make_model, save_model


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model that speaks, and an adapter of it."""
    folder = tmp_path_factory.mktemp("adapted")
    model = make_tiny_llama(folder / "model")
    targets = ["q_proj", "v_proj", "down_proj"]
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    return model, make_adapter(loaded, folder / "adapter", target_modules=targets)


def test_generate_and_chat_answer_with_the_adapter(adapted: tuple[Path, Path], llmrt: CommandLine) -> None:
    model, adapter = map(str, adapted)
    plain, tuned = (
        json.loads(llmrt("generate", model, "hello", "--json", "--dtype", "fp32", *options)[1])["token_ids"]
        for options in ((), ("--lora", adapter))
    )
    truth = merged(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), adapted[1])
    prompt = torch.tensor([json.loads((adapted[0] / "tokenizer.json").read_text())["model"]["vocab"]["hello"]])[None]
    expected = truth.generate(prompt, max_new_tokens=len(tuned), do_sample=False, eos_token_id=None)[0, 1:].tolist()
    assert tuned == expected != plain
    chats = [llmrt("chat", model, "--prompt", "hi", "--max-tokens", "9", "--temperature", "0", *options)[1]
             for options in ((), ("--lora", adapter))]  # fmt: skip
    assert chats[0] != chats[1]
    status, _, said = llmrt("generate", model, "hello", "--lora", f"{adapter}x")
    assert status == 1 and said.splitlines()[-1].startswith("error: ") and "adapter_model.safetensors" in said


@pytest.mark.parametrize("family", ["llama", "gpt2", "phi3"])
def test_merged_weights_are_those_that_peft_merges(family: str, tmp_path: Path, llmrt: CommandLine) -> None:
    targets = {"gpt2": ["c_attn", "c_fc"], "phi3": ["qkv_proj", "down_proj"]}.get(family, ["q_proj", "up_proj"])
    fields = {"gpt2": {"n_embd": 48, "n_layer": 2, "n_head": 4}, "phi3": {"pad_token_id": 0}}.get(family, {})
    model = make_model(family, **fields)
    source = save_model(model, tmp_path / "model", max_shard_size="40KB")
    assert len(list(source.glob("*.safetensors"))) > 1
    adapter = make_adapter(model, tmp_path / "a", target_modules=targets, fan_in_fan_out=family == "gpt2")
    status, _, said = llmrt("merge", str(source), "--lora", str(adapter), "-o", str(tmp_path / "out"))
    assert status == 0, said
    save_model(merged(copy.deepcopy(model), adapter), tmp_path / "truth")
    truth = load_file(tmp_path / "truth" / "model.safetensors")
    written = {name: t for file in (tmp_path / "out").glob("*.safetensors") for name, t in load_file(file).items()}
    assert written.keys() == truth.keys()
    for name, tensor in truth.items():
        torch.testing.assert_close(written[name], tensor, rtol=1e-6, atol=1e-6)


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "lengths of rows": ("llama", {"use_dora": True, "target_modules": ["q_proj", "down_proj"]}),
    "of transposed ones": ("gpt2", {"use_dora": True, "target_modules": ["c_attn"], "fan_in_fan_out": True}),
    "whole modules": ("llama", {"modules_to_save": ["lm_head", "embed_tokens", "input_layernorm"]}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_more_than_a_product_is_merged_as_peft_does(kind: str, tmp_path: Path, llmrt: CommandLine) -> None:
    family, fields = KINDS[kind]
    model = make_model(family, **({"n_embd": 48, "n_layer": 2, "n_head": 4} if family == "gpt2" else {}))
    source = save_model(model, tmp_path / "model")
    adapter = make_adapter(copy.deepcopy(model), tmp_path / "a", **fields)
    status, _, said = llmrt("merge", str(source), "--lora", str(adapter), "-o", str(tmp_path / "out"))
    assert status == 0, said
    truth, written = merged(copy.deepcopy(model), adapter).state_dict(), load_file(tmp_path / "out/model.safetensors")
    assert all((written[name] - truth[name]).abs().max() < 1e-5 for name in written)
    before = load_file(source / "model.safetensors")
    assert sum(not torch.equal(before[name], tensor) for name, tensor in written.items()) >= 2


def test_a_table_that_is_the_head_is_not_replaced_for_one_of_both(tmp_path: Path, llmrt: CommandLine) -> None:
    model = make_model("llama", tie_word_embeddings=True)
    source = save_model(model, tmp_path / "model")
    adapter = make_adapter(model, tmp_path / "a", modules_to_save=["embed_tokens"])
    status, _, said = llmrt("merge", str(source), "--lora", str(adapter), "-o", str(tmp_path / "out"))
    assert status == 1 and "embed_tokens.weight was trained for itself" in said


def test_what_cannot_be_merged_leaves_nothing(tmp_path: Path, llmrt: CommandLine) -> None:
    adapter = make_adapter(make_model("llama", num_hidden_layers=3), tmp_path / "a")
    source = save_model(make_model("llama"), tmp_path / "model")
    status, _, said = llmrt("merge", str(source), "--lora", str(adapter), "-o", str(tmp_path / "out"))
    assert status == 1 and "layers.2.self_attn.q_proj.weight is not in" in said
    narrow = make_adapter(make_model("llama", hidden_size=64), tmp_path / "b")
    status, _, said = llmrt("merge", str(source), "--lora", str(narrow), "-o", str(tmp_path / "out"))
    assert status == 1 and "is made for [64, 64]" in said
    status, _, said = llmrt("merge", str(source), "--lora", "nosuch", "-o", str(tmp_path / "out"))
    assert status == 1 and "nosuch is no LoRA adapter: there is no such folder; name a folder that peft saved" in said
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "model"}
    assert llmrt("merge", str(source), "--lora", str(adapter), "-o", str(source))[0] == 1
