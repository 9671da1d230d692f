"""Telling whether a model's files are still those that something was made of. Free of torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from llmrt.errors import CheckpointError
from llmrt.hub.layout import layout_of
from llmrt.text.gguf_parts import part_paths

# Of each file: its beginning, where formats keep their headers, its end, and samples spread between. A few megabytes,
# however large the model; what is trained further differs everywhere.
_HEAD_BYTES = 1 << 20
_SAMPLE_BYTES = 4096
_NUM_SAMPLES = 32


def source_identity(model: Path) -> str:
    """A hash of names, sizes and samples of the files at ``model``: of a .gguf file and its further parts, or a folder.

    It does not depend on where they lie. Raises ``CheckpointError`` for a file that cannot be read.
    """
    digest = hashlib.sha256()
    for path in weight_files(model):
        try:
            _add(digest.update, path)
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    return digest.hexdigest()


def weight_files(model: Path) -> list[Path]:
    """The files of weights at ``model``, and the configuration of a folder."""
    if model.is_file():
        return part_paths(model)
    layout = layout_of(model)
    config, index = model / layout.config, model / layout.index
    if index.is_file():
        names = set(json.loads(index.read_bytes())["weight_map"].values())
        return [config, *sorted(model / name for name in names)]
    return [config, *sorted(model.glob("*.safetensors"))]


def _add(update: Callable[[bytes], None], path: Path) -> None:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        update(f"{path.name}\0{size}\0".encode())
        file.seek(0)
        update(file.read(_HEAD_BYTES))
        for i in range(1, _NUM_SAMPLES + 1):
            file.seek(max(0, (size - _SAMPLE_BYTES) * i // _NUM_SAMPLES))
            update(file.read(_SAMPLE_BYTES))
