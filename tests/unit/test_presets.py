"""The aliases: their facts against transformers, and what a bad file is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from llmrt.cli.describe import preset_config
from llmrt.errors import ConfigError
from llmrt.model.checkpoints.tensor_slots import num_parameters
from llmrt.model.families.registry import read_model_config
from llmrt.model.fields import Fields
from llmrt.presets import find_preset, load_preset, load_presets

ALIASES = sorted(load_presets())
GOOD = """
repository = "org/name"
revision = "main"
licence = "MIT"
files = ["*.json"]
[config]
hidden_size = 8
num_hidden_layers = 2
num_attention_heads = 2
intermediate_size = 16
vocab_size = 32
"""


def truth(config: dict[str, Any]) -> int:
    """Parameters of the model that transformers builds of this config."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("alias", ALIASES)
def test_sizes_are_those_of_the_model_that_transformers_builds(alias: str) -> None:
    preset = find_preset(alias)
    assert preset is not None
    assert num_parameters(preset_config(preset)) == truth(dict(preset.config))


@pytest.mark.parametrize("change", [{"head_dim": 24}, {"tie_word_embeddings": True}, {"num_key_value_heads": None}])
def test_parameters_follow_the_config(change: dict[str, Any]) -> None:
    preset = find_preset("tinyllama-1.1b")
    assert preset is not None
    config = {key: value for key, value in {**preset.config, **change}.items() if value is not None}
    assert num_parameters(read_model_config(Fields(config, "config.json"))) == truth(config)


def test_the_models_that_users_ask_for_are_there() -> None:
    assert {"smollm2-135m", "mistral-7b", "mixtral-8x7b", "llama-2-7b", "llama-3.1-8b", "tinyllama-1.1b"} <= set(
        ALIASES
    )
    assert find_preset("no-such-model") is None


@pytest.mark.parametrize("alias", ALIASES)
def test_no_preset_fetches_pickles_or_duplicates(alias: str) -> None:
    preset = find_preset(alias)
    assert preset is not None
    assert {"*.json", "*.safetensors"} <= set(preset.files)
    assert not [pattern for pattern in preset.files if pattern.endswith((".bin", "*", ".pt")) or "/" in pattern]
    assert preset.gated == preset.repository.startswith(("meta-llama/", "google/"))
    assert preset.page == f"https://huggingface.co/{preset.repository}"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (('revision = "main"\n', ""), "revision"),
        (('licence = "MIT"', "licence = 3"), r"licence"),
        (('files = ["*.json"]', "files = [1]"), "files"),
        (("[config]", 'licence_url = "x"\n[config]'), "unknown field 'licence_url'"),
        (("[config]", '[wheel]\npackage = "p"\nversion = "1"\n[config]'), "file.*wheel"),
        (("[config]", '[wheel]\npackage = "p"\nversion = "1"\nfile = "f"\nsha = "0"\n[config]'), "unknown field 'sha'"),
        (("[config]", "[sampling]\ntemp = 0.2\n[config]"), "unknown field 'temp'"),
        (("[config]", '[sampling]\ntop_p = "high"\n[config]'), "top_p|sampling"),
        (("[config]", "[config"), "line 6"),
    ],
)
def test_a_malformed_file_is_named_with_its_field(tmp_path: Path, change: tuple[str, str], problem: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    assert load_preset(path).alias == "mine"
    path.write_text(GOOD.replace(*change))
    with pytest.raises(ConfigError, match=rf"mine\.toml.*{problem}"):
        load_preset(path)
