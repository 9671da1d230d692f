"""The arguments of a call as an object, for APIs that do not show them as text."""

from __future__ import annotations

from typing import Any

from llmrt.text.json_text import parse_json


def arguments_object(text: str) -> dict[str, Any]:
    """The arguments; those that are no object, or that the answer's end cut off, as they were written."""
    try:
        value = parse_json(text or "{}")
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"INVALID_JSON": text}
