"""The arguments of a call as an object, for APIs that do not show them as text."""

from __future__ import annotations

import json
from typing import Any


def arguments_object(text: str) -> dict[str, Any]:
    """The arguments; those that are no object, or that the answer's end cut off, as they were written."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"INVALID_JSON": text}
