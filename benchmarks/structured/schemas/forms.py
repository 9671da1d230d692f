"""Schemas that are written often."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
DRAFT_7 = "http://json-schema.org/draft-07/schema#"


def an_object(required: tuple[str, ...] = (), **properties: Any) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required or properties),
        "additionalProperties": False,
    }


def a_string(**keywords: Any) -> Schema:
    return {"type": "string", **keywords}
