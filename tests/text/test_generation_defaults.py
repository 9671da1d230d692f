"""What a model's publisher recommends, from either kind of file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from llmrt.errors import CheckpointError
from llmrt.presets import Sampling
from llmrt.text.generation_defaults import GenerationDefaults, load_generation_defaults, unusable_values

WriteJson = Callable[[str, object], Path]


def test_a_model_without_recommendations(tmp_path: Path) -> None:
    assert load_generation_defaults(tmp_path) == GenerationDefaults()


@pytest.mark.parametrize(
    ("config", "defaults"),
    [
        ({"eos_token_id": 2}, GenerationDefaults()),
        ({"do_sample": False, "top_p": 0.9, "top_k": 50, "min_p": 0.1}, GenerationDefaults()),
        ({"top_p": 0.9}, GenerationDefaults()),
        ({"do_sample": True, "top_p": 0.9}, GenerationDefaults(top_p=0.9)),
        (
            {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 40, "min_p": 0.05},
            GenerationDefaults(temperature=0.6, top_p=0.9, top_k=40, min_p=0.05),
        ),
        ({"temperature": 1, "top_p": None}, GenerationDefaults(temperature=1.0)),
        ({"repetition_penalty": 1.1, "max_new_tokens": 2048}, GenerationDefaults(repetition_penalty=1.1)),
    ],
)
def test_generation_config(
    tmp_path: Path, write_json: WriteJson, config: dict[str, object], defaults: GenerationDefaults
) -> None:
    write_json("generation_config.json", config)
    assert load_generation_defaults(tmp_path) == defaults


@pytest.mark.parametrize(
    ("config", "defaults"),
    [
        ({}, GenerationDefaults(temperature=0.2, top_p=0.9)),
        ({"repetition_penalty": 1.1}, GenerationDefaults(temperature=0.2, top_p=0.9, repetition_penalty=1.1)),
        ({"temperature": 0.6}, GenerationDefaults(temperature=0.6)),
    ],
)
def test_an_alias_says_what_the_files_do_not(
    tmp_path: Path, write_json: WriteJson, config: dict[str, object], defaults: GenerationDefaults
) -> None:
    write_json("generation_config.json", config)
    assert load_generation_defaults(tmp_path, Sampling(temperature=0.2, top_p=0.9)) == defaults


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"temperature": "hot"}, "generation_config.json: temperature is 'hot'; expected a number"),
        ({"top_k": 2.5}, "generation_config.json: top_k is 2.5; expected a whole number"),
        ({"min_p": True}, "generation_config.json: min_p is True; expected a number"),
        ({"temperature": float("nan")}, "temperature is nan; expected a finite number"),
        ({"temperature": 10**400}, "temperature is inf; expected a finite number"),
    ],
)
def test_what_is_no_finite_number_is_refused(
    tmp_path: Path, write_json: WriteJson, config: dict[str, object], reason: str
) -> None:
    write_json("generation_config.json", config)
    with pytest.raises(CheckpointError) as caught:
        load_generation_defaults(tmp_path)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("config", "defaults", "said"),
    [
        (
            {"do_sample": False, "temperature": 0.0, "top_p": 0},
            GenerationDefaults(temperature=0.0),
            ["top_p is 0.0; it must be above 0.0 and at most 1.0"],
        ),
        (
            {"do_sample": False, "temperature": 2.5},
            GenerationDefaults(top_k=7),
            ["temperature is 2.5; it must be at least 0.0 and at most 2.0"],
        ),
        (
            {"temperature": -1, "repetition_penalty": 0},
            GenerationDefaults(top_k=7),
            ["temperature is -1.0; it must be", "repetition_penalty is 0.0; it must be above 0.0 and at most 10.0"],
        ),
        ({"do_sample": False, "top_p": 0}, GenerationDefaults(top_k=7), []),  # which says nothing anyway
        ({"temperature": 2, "top_p": 1, "min_p": 1, "repetition_penalty": 10}, None, []),
    ],
)
def test_a_value_out_of_range_is_as_if_it_were_not_said(
    tmp_path: Path,
    write_json: WriteJson,
    config: dict[str, object],
    defaults: GenerationDefaults | None,
    said: list[str],
) -> None:
    write_json("generation_config.json", config)
    if defaults is not None:
        assert load_generation_defaults(tmp_path, Sampling(top_k=7)) == defaults
    lines = unusable_values(tmp_path)
    assert len(lines) == len(said)
    for line, beginning in zip(lines, said, strict=True):
        assert line.startswith(f"{tmp_path / 'generation_config.json'}: {beginning}")


def test_gguf_metadata(write_gguf: Callable[[Mapping[str, object]], Path]) -> None:
    values = {"temp": 0.5, "top_p": 0.75, "top_k": 20, "min_p": 0.25, "penalty_repeat": 1.5}
    path = write_gguf({f"general.sampling.{name}": value for name, value in values.items()})
    assert load_generation_defaults(path) == GenerationDefaults(
        temperature=0.5, top_p=0.75, top_k=20, min_p=0.25, repetition_penalty=1.5
    )
    assert load_generation_defaults(write_gguf({"some.key": 1})) == GenerationDefaults()
    path = write_gguf({"general.sampling.min_p": 2.0})
    assert load_generation_defaults(path) == GenerationDefaults()
    assert [line.partition(";")[0] for line in unusable_values(path)] == [f"{path}: min_p is 2.0"]
    with pytest.raises(CheckpointError, match=r"model\.gguf: min_p is inf; expected a finite number"):
        load_generation_defaults(write_gguf({"general.sampling.min_p": float("inf")}))
