"""Answers that are one JSON document."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from fastapi import Response
from msgspec import Struct


def json_response(record: Struct, headers: Mapping[str, str] | None = None, status: int = 200) -> Response:
    """``record`` as the whole body of a response."""
    return Response(msgspec.json.encode(record), status, headers, media_type="application/json")
