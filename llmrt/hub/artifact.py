"""What ``resolve`` hands to the rest of llmrt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Source = Literal["folder", "file", "hub", "wheel"]


@dataclass(frozen=True)
class ModelArtifact:
    """A model on this disk: ``path`` is a folder with config.json and safetensors, or a GGUF file.

    ``name`` is what the user asked for and ``detail`` one phrase about where the files come from.
    """

    name: str
    path: Path
    source: Source
    detail: str
