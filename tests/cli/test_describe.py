"""What is known of a model without loading it."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmrt.cli.describe import describe, preset_config
from llmrt.errors import ModelNotFoundError
from llmrt.presets import load_presets
from tests.hub.samples import tiny_gguf, tiny_repo


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
    assert by_folder.files == ("config.json", "model.safetensors", "tokenizer.json")


def test_what_is_unknown_is_said_to_be() -> None:
    with pytest.raises(ModelNotFoundError, match="llmrt pull org/name"):
        describe("org/name")
    with pytest.raises(ModelNotFoundError, match="did you mean"):
        describe("mistral7b")


@pytest.mark.parametrize(("alias", "window"), [("mistral-7b", None), ("mistral-7b-v0.1", 4096), ("mixtral-8x7b", None)])
def test_an_alias_has_the_window_of_its_config_json(alias: str, window: int | None) -> None:
    assert preset_config(load_presets()[alias]).sliding_window == window
