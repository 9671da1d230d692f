"""A model's configuration, wherever its files keep it. Free of torch."""

from __future__ import annotations

from pathlib import Path

from llmrt.hub.layout import MISTRAL, layout_of
from llmrt.model.config import ModelConfig
from llmrt.model.families.family import Family
from llmrt.model.families.mistral_params import MISTRAL_PARAMS
from llmrt.model.families.registry import find_family
from llmrt.model.fields import Fields


def read_config(path: Path) -> ModelConfig:
    """What the folder, config.json or .gguf file at ``path`` describes. Raises ``CheckpointError``."""
    if path.suffix == ".gguf":
        from llmrt.model.families.gguf_fields import read_gguf_file  # numpy, which the others do not need

        return read_gguf_file(path)
    fields, family = read_fields(path)
    return family.read_config(fields)


def read_fields(path: Path) -> tuple[Fields, Family]:
    """The fields of the folder, or config.json, at ``path``, and who reads them. Raises ``CheckpointError``."""
    if not path.is_dir():
        fields = Fields.from_file(path)
        return fields, find_family(fields)
    layout = layout_of(path)
    fields = Fields.from_file(path / layout.config)
    return fields, MISTRAL_PARAMS if layout is MISTRAL else find_family(fields)
