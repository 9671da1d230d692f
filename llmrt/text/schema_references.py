"""Where schemas are within a JSON schema, and the references to them that begin with "#"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

JsonSchema = dict[str, Any]
Pointer = tuple[str | int, ...]


# Keywords of which the value is one schema, a list of them, or an object of them by name.
ONE_SCHEMA = ("additionalProperties", "items")
LIST_OF_SCHEMAS = ("allOf", "anyOf", "oneOf", "prefixItems")
MAP_OF_SCHEMAS = ("$defs", "definitions", "patternProperties", "properties")


class Found(NamedTuple):
    """What a reference names, and where it stands."""

    schema: object
    at: Pointer


def resolve_local(root: object, reference: str) -> Found | None:
    """What ``reference`` ("#", "#/$defs/a") names in ``root``; None for a reference of another form, or to nothing."""
    if reference != "#" and not reference.startswith("#/"):
        return None
    node, at = root, ()
    for step in unquote(reference[1:]).split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(node, Mapping) and name in node:
            node, at = node[name], (*at, name)
        elif isinstance(node, list) and name.isdecimal() and int(name) < len(node):
            node, at = node[int(name)], (*at, int(name))
        else:
            return None
    return Found(node, at)


def spell_pointer(at: Pointer) -> str:
    """``at`` as a reference would name it."""
    return "#" + "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in at)
