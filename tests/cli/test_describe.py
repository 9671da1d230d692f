"""What is known of a model without loading it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gguf import GGMLQuantizationType as Kind

from llmrt.cli import model_tables
from llmrt.cli.describe import describe, preset_config
from llmrt.errors import ModelNotFoundError
from llmrt.presets import load_presets
from tests.cli.conftest import CommandLine
from tests.gguf_files import write_gguf
from tests.hub.samples import tiny_gguf, tiny_repo
from tests.tiny import make_model


def test_a_folder_and_a_gguf_file_are_described_from_what_they_hold(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name, data in tiny_repo().items():
        (folder / name).write_bytes(data)
    tiny_gguf(tmp_path / "m.gguf")
    by_folder, by_gguf = describe(str(folder)), describe(str(tmp_path / "m.gguf"))
    assert by_folder.config.num_layers == by_gguf.config.num_layers == 2
    assert by_folder.config.vocab_size == by_gguf.config.vocab_size == 32
    assert by_folder.num_parameters == by_gguf.num_parameters
    assert by_folder.weights is by_gguf.weights is None
    assert by_folder.files == ("config.json", "model.safetensors", "tokenizer.json")


@pytest.mark.parametrize(
    ("said", "weights"),
    [
        (
            {"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True},
            "GPTQ, 4 bits, groups of 128, kept as int4 in groups of 64, 4.25 bits a weight",
        ),
        (
            {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"},
            "AWQ, 4 bits, groups of 128, kept as int4 with offsets in groups of 64, 4.5 bits a weight",
        ),
        (
            {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
            "bitsandbytes, nf4, rounded to int8 in groups of 32, 8.5 bits a weight",
        ),
    ],
)
def test_how_quantized_weights_are_kept(said: dict[str, object], weights: str, tmp_path: Path) -> None:
    for name, data in tiny_repo().items():
        (tmp_path / name).write_bytes(data)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "quantization_config": said}))
    assert describe(str(tmp_path)).weights == weights


def test_what_becomes_of_codes_is_said_by_type(tmp_path: Path) -> None:
    types = {"token_embd.weight": Kind.Q8_0, "output.weight": Kind.F16, "blk.0.ffn_gate.weight": Kind.Q5_1}
    model = make_model("llama", hidden_size=64, intermediate_size=96)
    path = write_gguf(model, tmp_path / "m.gguf", lambda name: types.get(name, Kind.Q4_0))
    assert set((describe(str(path)).weights or "").splitlines()) == {
        "Q4_0: 12 matrices, kept as int4 in groups of 32, 4.5 bits a weight",
        "Q4_0: 1 matrix, kept as int8 with offsets in groups of 32, 9 bits a weight",  # beside the gate
        "Q5_1: 1 matrix, kept as int8 with offsets in groups of 32, 9 bits a weight",
        "Q8_0: 1 matrix, kept as int8 in groups of 32, 8.5 bits a weight",
        "F16: 1 matrix, kept as int8 in groups of 32, 8.5 bits a weight",
    }


def test_what_is_unknown_is_said_to_be() -> None:
    with pytest.raises(ModelNotFoundError, match="llmrt pull org/name"):
        describe("org/name")
    with pytest.raises(ModelNotFoundError, match="did you mean"):
        describe("mistral7b")


@pytest.mark.parametrize(("alias", "window"), [("mistral-7b", None), ("mistral-7b-v0.1", 4096), ("mixtral-8x7b", None)])
def test_an_alias_has_the_window_of_its_config_json(alias: str, window: int | None) -> None:
    assert preset_config(load_presets()[alias]).sliding_window == window


@pytest.mark.parametrize(("device", "computed"), [("cpu", "on a CPU"), ("cuda", "on a GPU")])
def test_what_computes_is_said_of_the_device_that_would(
    device: str, computed: str, monkeypatch: pytest.MonkeyPatch, llmrt: CommandLine
) -> None:
    monkeypatch.setattr(model_tables, "auto_device", lambda: device)
    _, out, _ = llmrt("show", "mistral-7b")
    assert [line.split("  ")[0] for line in out.splitlines() if "kernels" in line] == [computed]
