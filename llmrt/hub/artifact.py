"""What ``resolve`` hands to the rest of llmrt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llmrt.presets import UNSAID, Sampling

Source = Literal["folder", "file", "hub", "wheel"]


@dataclass(frozen=True)
class ModelArtifact:
    """A model on this disk: ``path`` is a folder with config.json and safetensors, or a GGUF file.

    ``name`` is what the user asked for and ``detail`` one phrase about where the files come from. ``sampling`` is what
    the alias says of it, for files that say nothing.
    """

    name: str
    path: Path
    source: Source
    detail: str
    sampling: Sampling = UNSAID
