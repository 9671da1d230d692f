"""JSON schemas as llguidance compiles them, and the refusal of what it would not enforce."""

from __future__ import annotations

import json
from collections.abc import Mapping

from llmrt.errors import RequestError

MAX_SCHEMA_CHARS = 1 << 18

# One line, with or without a space after commas and colons: a small model that may write white space anywhere
# may never stop.
_LAYOUT = {
    "whitespace_flexible": False,
    "item_separator": ", ?",
    "key_separator": ": ?",
    "coerce_one_of": False,
    "lenient": False,
}


def schema_text(schema: object, *, param: str) -> str:
    """``schema`` (parsed JSON) with llmrt's own settings, as llguidance reads it, also behind ``%json`` in Lark.

    Raises ``RequestError`` that names ``param`` for a schema that is too large or none.
    """
    if schema is True:
        schema = {}
    if not isinstance(schema, Mapping):
        raise RequestError(f"{param} must be a JSON schema: an object.", param=param)
    if "x-guidance" in schema:
        raise RequestError(f"{param} must not set x-guidance.", param=param)
    text = json.dumps({**schema, "x-guidance": _LAYOUT})
    if len(text) > MAX_SCHEMA_CHARS:
        raise RequestError(f"{param} has {len(text)} characters; {MAX_SCHEMA_CHARS} are possible.", param=param)
    return text
