"""Which of the server's paths those mean who ask for one that it does not have."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

# Paths of llama.cpp's and vLLM's servers that go by another name here.
_ELSEWHERE = {
    "/chat": "/v1/chat/completions",
    "/completion": "/v1/completions",
    "/generate": "/v1/completions",
    "/infill": "/v1/completions",
    "/embedding": "/v1/embeddings",
    "/props": "/v1/models",
    "/slots": "/metrics",
    "/load": "/metrics",
    "/ping": "/health",
}


def meant_path(path: str, paths: Collection[str]) -> str | None:
    """The one of ``paths`` that ``path`` was meant to be: ``/v1`` was left out or put twice, or a letter is wrong."""
    known = [one for one in paths if "{" not in one and one != "/"]
    bare = path.rstrip("/")
    behind = sorted((one for one in known if bare.endswith(one)), key=len, reverse=True)  # /api/version, not /version
    named = [name for name in (f"/v1{bare}", _ELSEWHERE.get(bare.removeprefix("/v1"))) if name in known]
    return next(iter([*behind, *named, *get_close_matches(bare, known, n=1, cutoff=0.8)]), None)
