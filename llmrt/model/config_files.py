"""A model's configuration, wherever its files keep it. Free of torch."""

from __future__ import annotations

from pathlib import Path

from llmrt.model.config import ModelConfig
from llmrt.model.families.registry import read_model_config
from llmrt.model.fields import Fields


def read_config(path: Path) -> ModelConfig:
    """What the folder, config.json or .gguf file at ``path`` describes. Raises ``CheckpointError``."""
    if path.suffix == ".gguf":
        from llmrt.model.families.gguf_fields import read_gguf_file  # numpy, which the others do not need

        return read_gguf_file(path)
    return read_model_config(Fields.from_file(path / "config.json" if path.is_dir() else path))
