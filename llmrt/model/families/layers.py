"""Fields that say something of each layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmrt.errors import CheckpointError
from llmrt.model.fields import Fields

KINDS = ("full_attention", "sliding_attention")


def full_attention_layers(fields: Fields, default: Callable[[int], bool]) -> tuple[int, ...]:
    """The layers that ``layer_types`` calls so or, without that field, those for which ``default`` holds."""
    count = fields.count("num_hidden_layers")
    if not fields.strings("layer_types"):
        return tuple(layer for layer in range(count) if default(layer))
    return layers_of_kind(fields, "layer_types", count, KINDS)


def layers_of_kind(fields: Fields, name: str, count: int, kinds: Sequence[str]) -> tuple[int, ...]:
    """Those of ``count`` layers that the field ``name`` says are of the first of ``kinds``."""
    found = fields.strings(name)
    unknown = [kind for kind in found if kind not in kinds]
    if unknown:
        raise CheckpointError(f"{fields.where}: {name} has {unknown[0]!r}; known are {', '.join(kinds)}.")
    if len(found) != count:
        raise CheckpointError(f"{fields.where}: {name} has {len(found)} entries for {count} layers.")
    return tuple(layer for layer, kind in enumerate(found) if kind == kinds[0])
