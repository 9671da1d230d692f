"""OpenAI-compatible servers as their client sees them: addresses, models, and what fails on the way in one line."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2

from llmrt.errors import ConfigError, UnavailableError

# What other programs are given as an address, and what a page of documentation has.
_ROUTE = re.compile(
    r"(/v1(/(chat/completions|completions|responses|messages|embeddings|models))?|/chat/completions)?/*$"
)


def server_root(url: str) -> str:
    """The address of ``--url`` without ``/v1`` or a route at its end. Raises ``ConfigError`` for what is none."""
    try:
        parts = urlsplit(url)
    except ValueError:  # half an IPv6 address
        parts = None
    if parts is None or parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError(f"--url is {url!r}; it must be an address such as http://127.0.0.1:8000")
    return urlunsplit(parts._replace(path=_ROUTE.sub("", parts.path)))


@contextmanager
def connection_errors(url: str) -> Generator[None]:
    """Raise ``UnavailableError`` where the server at ``url`` is not there, or its connection breaks."""
    try:
        yield
    except httpx2.ConnectError as error:
        raise UnavailableError(f"no server answers at {url} ({error}); start one with: llmrt serve MODEL") from error
    except (httpx2.TransportError, httpx2.InvalidURL) as error:
        raise UnavailableError(f"the connection to {url} broke: {error or type(error).__name__}") from error


def unknown_key(url: str) -> ConfigError:
    """The error for an answer with status 401."""
    return ConfigError(f"{url} asks for a key that it knows; give it in LLMRT_API_KEY or with --api-key")


def context_length(entry: Mapping[str, Any]) -> int | None:
    """What a server's list says of a model's context: in vLLM's field, or in llama.cpp's."""
    return entry.get("max_model_len") or (entry.get("meta") or {}).get("n_ctx_train")
