"""What goes wrong with a folder on disk: changes of its files, for tests of what is said then."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

Edit = Callable[[Path], object]


def edit_weights(change: Callable[[dict[str, Tensor]], object], name: str = "model.safetensors") -> Edit:
    """Have ``change`` put other tensors into the file."""

    def edit(folder: Path) -> None:
        tensors = load_file(folder / name)
        change(tensors)
        save_file(tensors, folder / name)

    return edit


def edit_json(name: str, change: Callable[[Any], object]) -> Edit:
    """Have ``change`` put other values into the file."""

    def edit(folder: Path) -> None:
        values = json.loads((folder / name).read_text())
        change(values)
        (folder / name).write_text(json.dumps(values))

    return edit


def truncate(name: str, keep: float) -> Edit:
    """Leave a share of the file."""

    def edit(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * keep)])

    return edit
