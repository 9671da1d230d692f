"""Objects whose schema lists properties and does not say whether there are more: an answer has no more.

JSON schema allows more. But who lists properties wants these: a function takes no other arguments, and a small model
that may go on inventing properties does. An answer without them satisfies the schema all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmrt.text.schema_references import LIST_OF_SCHEMAS, MAP_OF_SCHEMAS, ONE_SCHEMA, JsonSchema

_PARTS = {"$ref", "allOf", "anyOf", "oneOf"}
_MORE = {"additionalProperties", "minProperties", "patternProperties"}


def with_closed_objects(root: JsonSchema) -> JsonSchema:
    """``root``, a schema that was checked, with ``additionalProperties`` false where nothing is said of them.

    Unchanged where an object is put together from parts, for each would forbid the properties of the others, or where
    alternatives must not both hold.
    """
    return root if _is_composed(root) else _closed(root)


def _is_composed(schema: Any) -> bool:
    if not isinstance(schema, dict):
        return False
    parts_of_object = _PARTS & schema.keys() and (_MORE | {"properties", "required"}) & schema.keys()
    return bool({"allOf", "oneOf"} & schema.keys() or parts_of_object) or any(map(_is_composed, _within(schema)))


def _within(schema: JsonSchema) -> Iterator[Any]:
    for keyword, value in schema.items():
        if keyword in ONE_SCHEMA:
            yield value
        elif keyword in LIST_OF_SCHEMAS:
            yield from value
        elif keyword in MAP_OF_SCHEMAS:
            yield from value.values()


def _closed(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    closed = {keyword: _closed_within(keyword, value) for keyword, value in schema.items()}
    return closed | ({"additionalProperties": False} if _lists_all(schema) else {})


def _closed_within(keyword: str, value: Any) -> Any:
    if keyword in ONE_SCHEMA:
        return _closed(value)
    if keyword in LIST_OF_SCHEMAS:
        return [_closed(part) for part in value]
    if keyword in MAP_OF_SCHEMAS:
        return {name: _closed(part) for name, part in value.items()}
    return value


def _lists_all(schema: JsonSchema) -> bool:
    listed = schema.get("properties")
    return listed is not None and not _MORE & schema.keys() and {*schema.get("required", ())} <= listed.keys()
