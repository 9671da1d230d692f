"""Fields that say something of each layer."""

from __future__ import annotations

from collections.abc import Callable

from llmrt.errors import CheckpointError
from llmrt.model.fields import Fields

KINDS = ("full_attention", "sliding_attention")


def full_attention_layers(fields: Fields, default: Callable[[int], bool]) -> tuple[int, ...]:
    """The layers that ``layer_types`` calls so or, without that field, those for which ``default`` holds."""
    count, kinds = fields.size("num_hidden_layers"), fields.strings("layer_types")
    if not kinds:
        return tuple(layer for layer in range(count) if default(layer))
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise CheckpointError(f"{fields.where}: layer_types has {unknown[0]!r}; known are {', '.join(KINDS)}.")
    if len(kinds) != count:
        raise CheckpointError(f"{fields.where}: layer_types has {len(kinds)} entries for {count} layers.")
    return tuple(layer for layer, kind in enumerate(kinds) if kind == "full_attention")
