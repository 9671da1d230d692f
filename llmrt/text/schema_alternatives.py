"""Whether alternatives of a JSON schema exclude each other: then exactly one of them holds wherever any does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from llmrt.text.schema_references import resolve_local

_ALL_TYPES = frozenset({"null", "boolean", "number", "string", "array", "object"})
_TYPE_OF_VALUE = {"n": "null", "t": "boolean", "f": "boolean", '"': "string"}  # by the first character in JSON
_MAX_LEVELS = 8


def exclude_each_other(schemas: Sequence[object], root: object) -> bool:
    """True where no value satisfies two of ``schemas``, whose references are to ``root``; False if that is not seen."""
    return all(_exclude(left, right, root, _MAX_LEVELS) for left, right in combinations(schemas, 2))


def _exclude(left: object, right: object, root: object, levels: int) -> bool:
    left, right = _resolved(left, root), _resolved(right, root)
    if left is False or right is False:
        return True
    if not levels or not isinstance(left, Mapping) or not isinstance(right, Mapping):
        return False
    if not _types(left) & _types(right):
        return True
    one, other = _values(left), _values(right)
    if one is not None and other is not None and not one & other:
        return True
    return _differ_in_a_property(left, right, root, levels - 1)


def _differ_in_a_property(left: Mapping[str, Any], right: Mapping[str, Any], root: object, levels: int) -> bool:
    """As the tag of a tagged union: both are objects, and must have it."""
    if not _types(left) & _types(right) <= {"object"}:
        return False
    shared = _required(left) & _required(right)
    return any(_exclude(_property(left, name), _property(right, name), root, levels) for name in sorted(shared))


def _resolved(schema: object, root: object) -> object:
    for _ in range(_MAX_LEVELS):
        if not isinstance(schema, Mapping) or not isinstance(schema.get("$ref"), str):
            break
        found = resolve_local(root, schema["$ref"])
        if found is None:
            break
        schema = found.schema
    return schema


def _types(schema: Mapping[str, Any]) -> frozenset[str]:
    values = _values(schema)
    if values is not None:
        return frozenset(_TYPE_OF_VALUE.get(value[0], "number") for value in values)
    kinds = schema.get("type")
    named = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else _ALL_TYPES
    return frozenset("number" if kind == "integer" else str(kind) for kind in named)


def _values(schema: Mapping[str, Any]) -> frozenset[str] | None:
    """The few values that are possible, none of them lists or objects; None for others or any number of them."""
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(values, list) or any(isinstance(value, list | dict) for value in values):
        return None
    return frozenset(map(_canonical, values))


def _canonical(value: object) -> str:
    """Equal for equal values: 1 and 1.0 are, 1 and true are not."""
    return json.dumps(int(value) if isinstance(value, float) and value.is_integer() else value)


def _required(schema: Mapping[str, Any]) -> set[str]:
    names = schema.get("required")
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()


def _property(schema: Mapping[str, Any], name: str) -> object:
    properties = schema.get("properties")
    return properties.get(name, True) if isinstance(properties, Mapping) else True
