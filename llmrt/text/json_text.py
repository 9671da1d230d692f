"""JSON that somebody else wrote, read without a way to fail but one."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes, *, strict: bool = True) -> Any:
    """The value of ``text``. Raises ``ValueError`` for what is no JSON, and for values nested deeper than Python reads.

    Without ``strict``, strings may have line breaks.
    """
    try:
        return json.loads(text, strict=strict)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
