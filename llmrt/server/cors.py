"""Which web pages of other sites may use the server: none, unless the person who starts it names them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from llmrt.errors import ConfigError

if TYPE_CHECKING:
    from fastapi import FastAPI

_ANY_OR_NONE = ("*", "null")  # null is the origin of pages without one, files for example
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#@\s*]+/?")
_READABLE = ("x-request-id", "x-llmrt-ignored", "x-llmrt-clamped", "retry-after", "retry-after-ms")


def check_cors_origin(origin: str) -> str:
    """``origin`` as browsers write it. Raises ``ConfigError`` for what is none: it would allow nobody."""
    if origin in _ANY_OR_NONE:
        return origin
    if not _ORIGIN.fullmatch(origin):
        raise ConfigError(
            f"--cors-origin {origin} is no origin such as https://chat.example.org or http://localhost:3000."
        )
    return origin.lower().rstrip("/")


def allow_origins(app: FastAPI, origins: tuple[str, ...]) -> None:
    """Let pages of ``origins`` use ``app``, by keys that they are given rather than by cookies."""
    from starlette.middleware.cors import CORSMiddleware

    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["*"],
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=_READABLE,
        )
