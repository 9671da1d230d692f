"""Tensors that a checkpoint keeps as one, shown as their parts. Free of torch.

    qkv_proj.weight  rows  [ q | k | v ]    or, for each key/value head,  [ its q | k | v ]

becomes "qkv_proj[q].weight", "qkv_proj[k].weight" and "qkv_proj[v].weight", and so on for whatever names ask for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmrt.errors import CheckpointError
from llmrt.model.checkpoints.tensor_slots import Slot, tensor_slots
from llmrt.model.config import ModelConfig
from llmrt.model.families.family import TensorNames
from llmrt.model.stored_tensor import Part, StoredTensor

_PART = re.compile(r"\[\w+\]")


@dataclass
class _Fused:
    parts: dict[str, Slot]
    groups: int

    @property
    def shape(self) -> tuple[int, ...]:
        first = next(iter(self.parts.values())).shape
        return (sum(slot.shape[0] for slot in self.parts.values()), *first[1:])


def stored_name(name: str) -> str:
    """The tensor that ``name`` is, or is a part of."""
    return _PART.sub("", name)


def stored_shapes(config: ModelConfig, names: TensorNames) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor that a checkpoint has, fused ones as a whole and not transposed."""
    slots, fused = tensor_slots(config, names), _fused(config, names)
    return {
        stored: fused[stored].shape if stored in fused else slots[name].shape
        for name, stored in ((name, stored_name(name)) for name in slots)
    }


def with_parts(inventory: dict[str, StoredTensor], config: ModelConfig, names: TensorNames) -> dict[str, StoredTensor]:
    """``inventory`` with each fused tensor replaced by its parts, and without positions that are none.

    Raises ``CheckpointError`` for parts that do not fit.
    """
    fused = _fused(config, names)
    shown: dict[str, StoredTensor] = {}
    for name, stored in inventory.items():
        if name in fused:
            shown.update(_parts(name, stored, fused[name], names.transposed))
        elif names.unused_positions and name == f"{names.positions}.weight":
            shown[name] = _without_first(name, stored, names.unused_positions)
        else:
            shown[name] = stored
    return shown


def _without_first(name: str, stored: StoredTensor, unused: int) -> StoredTensor:
    rows, *columns = stored.shape
    return stored._replace(shape=(rows - unused, *columns), part=Part(name, 1, unused, rows, transposed=False))


def _fused(config: ModelConfig, names: TensorNames) -> dict[str, _Fused]:
    found: dict[str, _Fused] = {}
    for name, slot in tensor_slots(config, names).items():
        if _PART.search(name):
            grouped = names.qkv_by_kv_head and slot.parameter.endswith(("qkv.weight", "qkv.bias"))
            groups = config.num_kv_heads if grouped else 1
            found.setdefault(stored_name(name), _Fused({}, groups)).parts[name] = slot
    return found


def _parts(name: str, stored: StoredTensor, fused: _Fused, transposed: bool) -> dict[str, StoredTensor]:
    transposed = transposed and len(stored.shape) > 1
    shape = fused.shape[::-1] if transposed else fused.shape
    if stored.shape != shape:
        raise CheckpointError(
            f"{stored.file}: tensor {name} has shape {list(stored.shape)}; the configuration asks for {list(shape)}."
        )
    parts: dict[str, StoredTensor] = {}
    start = 0
    for part, slot in fused.parts.items():
        rows = slot.shape[0] // fused.groups
        where = Part(name, fused.groups, start, start + rows, transposed)
        scheme = None if transposed else stored.scheme
        parts[part] = stored._replace(shape=slot.shape, part=where, scheme=scheme)
        start += rows
    return parts
