"""Where the packed copy of a model's weights is kept: beside the model, or below LLMRT_HOME where that cannot be.

``MODEL/.llmrt/int4.safetensors`` for a folder, ``.llmrt/NAME.gguf.int4.safetensors`` in the folder of a GGUF file; in a
folder that cannot be written to, ``LLMRT_HOME/packed/`` with one folder a model. What is rounded for a text is called
``int4-ID`` in the place of ``int4``.
"""

from __future__ import annotations

import os
from pathlib import Path

from llmrt.hub import store

FOLDER = ".llmrt"
_SUFFIX = ".safetensors"


def packed_copy(model: Path, variant: str) -> Path:
    """Where the copy of ``model`` called ``variant`` is or would be."""
    beside, home = _folders(model)
    writable = beside.is_dir() or not beside.exists()
    return (beside if writable and os.access(_base(model), os.W_OK) else home) / f"{_prefix(model)}{variant}{_SUFFIX}"


def packed_copies(model: Path) -> list[Path]:
    """Every copy of ``model`` that is there."""
    return sorted(path for folder in _folders(model) for path in folder.glob(f"{_prefix(model)}*{_SUFFIX}"))


def copies_bytes(model: Path) -> int:
    """Bytes of every copy of ``model``."""
    return sum(path.stat().st_size for path in packed_copies(model))


def remove_copies(model: Path) -> None:
    """Delete every copy of ``model``, and the folders that are empty then."""
    for path in packed_copies(model):
        path.unlink(missing_ok=True)
        evaluation_file(path).unlink(missing_ok=True)
    for folder in _folders(model):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def evaluation_file(packed: Path) -> Path:
    """Where what `llmrt eval` found of ``packed`` weights is kept."""
    return packed.with_suffix(".eval.json")


def _base(model: Path) -> Path:
    return model if model.is_dir() else model.parent


def _folders(model: Path) -> tuple[Path, Path]:
    return _base(model) / FOLDER, store.home() / "packed" / store.model_key(model)


def _prefix(model: Path) -> str:
    return f"{model.name}." if model.suffix == ".gguf" else ""
