"""The sampling values that a model's publisher recommends."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TypeVar

from llmrt.errors import CheckpointError
from llmrt.presets import UNSAID, Sampling
from llmrt.text.model_files import JsonObject, read_json
from llmrt.text.sampling_ranges import RANGES

T = TypeVar("T", int, float)
DRAWING = tuple(field.name for field in fields(Sampling))
GENERATION_CONFIG = "generation_config.json"
GGUF_DRAWING = {  # the metadata that each is in
    "temperature": "general.sampling.temp",
    "top_p": "general.sampling.top_p",
    "top_k": "general.sampling.top_k",
    "min_p": "general.sampling.min_p",
}


@dataclass(frozen=True, kw_only=True)
class GenerationDefaults(Sampling):
    """None: the model does not say. The fields mean what they mean in ``SamplingParams``."""

    repetition_penalty: float | None = None

    @property
    def says_how_to_draw(self) -> bool:
        """Publishers who name one of the values that steer the draw mean the neutral value of the others."""
        return any(getattr(self, name) is not None for name in DRAWING)

    def top_k_within(self, vocab_size: int) -> int | None:
        """``top_k`` as the engine takes it: for all tokens some write -1, or more than there are."""
        return None if self.top_k is None else min(max(0, self.top_k), vocab_size)


def load_generation_defaults(path: Path, otherwise: Sampling = UNSAID) -> GenerationDefaults:
    """From generation_config.json of a model directory, or from the metadata of a .gguf file.

    How to draw is as ``otherwise`` says where they do not. A generation_config.json that neither samples
    (``do_sample``) nor has a temperature recommends no sampling values; one out of its range is as if it were not
    said, see ``unusable_values``. Raises ``CheckpointError`` that names the field for what is no finite number.
    """
    said = _said(path)
    if said.says_how_to_draw:
        return said
    return replace(said, **{name: getattr(otherwise, name) for name in DRAWING})


def unsaid_drawing(path: Path, otherwise: Sampling) -> dict[str, float]:
    """The values of ``otherwise``, where the files of a model do not say how to draw."""
    if _said(path).says_how_to_draw:
        return {}
    return {name: value for name in DRAWING if (value := getattr(otherwise, name)) is not None}


def unusable_values(path: Path) -> list[str]:
    """A line for each value out of its range, for the person who loads the model."""
    faults = _faults(_written(path))
    return [f"{_file(path)}: {name} {fault}. It counts as not said." for name, fault in faults.items()]


def _said(path: Path) -> GenerationDefaults:
    written = _written(path)
    return replace(written, **dict.fromkeys(_faults(written)))


def _faults(written: GenerationDefaults) -> dict[str, str]:
    values = {name: getattr(written, name) for name in RANGES}
    faults = {name: RANGES[name].fault(value) for name, value in values.items() if value is not None}
    return {name: fault for name, fault in faults.items() if fault is not None}


def _file(path: Path) -> Path:
    return path if path.suffix == ".gguf" else path / GENERATION_CONFIG


def _written(path: Path) -> GenerationDefaults:
    file = _file(path)
    written = _from_gguf(file) if path.suffix == ".gguf" else _from_json(file)
    for name in RANGES:
        value = getattr(written, name)
        if value is not None and not math.isfinite(value):
            raise CheckpointError(f"{file}: {name} is {value}; expected a finite number.")
    return written


def _from_json(path: Path) -> GenerationDefaults:
    config = read_json(path)
    defaults = GenerationDefaults(
        temperature=_number(path, config, "temperature"),
        top_p=_number(path, config, "top_p"),
        top_k=_integer(path, config, "top_k"),
        min_p=_number(path, config, "min_p"),
        repetition_penalty=_number(path, config, "repetition_penalty"),
    )
    if defaults.temperature is None and config.get("do_sample") is not True:
        return replace(defaults, top_p=None, top_k=None, min_p=None)
    return defaults


def _from_gguf(path: Path) -> GenerationDefaults:
    from llmrt.text.gguf_metadata import open_gguf, read_value

    reader = open_gguf(path)
    return GenerationDefaults(
        temperature=read_value(reader, GGUF_DRAWING["temperature"], float),
        top_p=read_value(reader, GGUF_DRAWING["top_p"], float),
        top_k=read_value(reader, GGUF_DRAWING["top_k"], int),
        min_p=read_value(reader, GGUF_DRAWING["min_p"], float),
        repetition_penalty=read_value(reader, "general.sampling.penalty_repeat", float),
    )


def _number(path: Path, config: JsonObject, name: str) -> float | None:
    value = config.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CheckpointError(f"{path}: {name} is {value!r}; expected a number.")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _integer(path: Path, config: JsonObject, name: str) -> int | None:
    value = config.get(name)
    if value is not None and type(value) is not int:
        raise CheckpointError(f"{path}: {name} is {value!r}; expected a whole number.")
    return value
