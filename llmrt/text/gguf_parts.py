"""GGUF models in several files, NAME-00001-of-00003.gguf and so on, of which the first has the metadata."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from llmrt.errors import CheckpointError

if TYPE_CHECKING:
    from gguf import GGUFReader

_PART = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")


def part_names(name: str) -> list[str]:
    """The files of the model that ``name`` is a part of, in order; ``name`` alone if it is no part."""
    match = _PART.fullmatch(name)
    if match is None or not 1 <= int(match[2]) <= int(match[3]):
        return [name]
    return [f"{match[1]}-{i:05}-of-{match[3]}.gguf" for i in range(1, int(match[3]) + 1)]


def part_paths(path: Path) -> list[Path]:
    """The same of a path."""
    return [path.with_name(name) for name in part_names(path.name)]


def first_parts(names: Iterable[str]) -> list[str]:
    """One name for each model among ``names``."""
    return sorted({part_names(name)[0] for name in names})


def open_parts(path: Path) -> dict[Path, GGUFReader]:
    """The readers of all files of the model whose first one is at ``path``. Raises ``CheckpointError``."""
    from llmrt.text.gguf_metadata import open_gguf

    paths = part_paths(path)
    for i, part in enumerate(paths):
        if not part.is_file():
            raise CheckpointError(f"{part} is missing; it is part {i + 1} of {len(paths)} of a model.")
    return {part: open_gguf(part) for part in paths}


def check_parts(parts: dict[Path, GGUFReader]) -> None:
    """Raise ``CheckpointError`` for files that are not those of one model, or not all."""
    from llmrt.text.gguf_metadata import read_value

    owners: dict[str, Path] = {}
    for i, (path, reader) in enumerate(parts.items()):
        count, number = read_value(reader, "split.count", int) or 1, read_value(reader, "split.no", int) or 0
        if (count, number) != (len(parts), i):
            said = f"part {number + 1} of {count}" if count > 1 else "a model of one file"
            raise CheckpointError(f"{path} says that it is {said}; name files NAME-00001-of-00003.gguf as they were.")
        for tensor in reader.tensors:
            if owners.setdefault(tensor.name, path) != path:
                raise CheckpointError(f"{path}: the tensor {tensor.name} is in {owners[tensor.name].name} as well.")
    first, reader = next(iter(parts.items()))
    expected = read_value(reader, "split.tensors.count", int)
    if len(parts) > 1 and expected not in (None, len(owners)):
        raise CheckpointError(f"{first}: split.tensors.count is {expected}, but the parts hold {len(owners)} tensors.")
