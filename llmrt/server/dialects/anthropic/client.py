"""Who speaks Anthropic's API on a path that OpenAI's has too."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import Scope


def is_anthropic(scope: Scope) -> bool:
    """Whether a client of Anthropic's API asks: it names the version of that, and OpenAI's have none."""
    return "anthropic-version" in Headers(scope=scope)
