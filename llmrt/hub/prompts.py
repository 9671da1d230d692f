"""Where the keys and values of prompts are kept between starts: ``LLMRT_HOME/prompts/``, with one folder a model.

They tell of what was asked, so only their owner may read them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from llmrt.hub import store


def prompts_folder() -> Path:
    """The folder of all models."""
    return store.home() / "prompts"


def prompts_bytes(model: Path | None = None) -> int:
    """Bytes that are kept for ``model``, or for all."""
    return sum(file.stat().st_size for file in _folder(model).rglob("*") if file.is_file())


def remove_prompts(model: Path | None = None) -> None:
    """Delete what is kept for ``model``, or for all."""
    shutil.rmtree(_folder(model), ignore_errors=not _folder(model).exists())


def _folder(model: Path | None) -> Path:
    return prompts_folder() if model is None else prompts_folder() / store.model_key(model)
