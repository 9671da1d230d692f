"""``GET /``: the web chat, a page of files that lie in ``llmrt/server/ui``.

The page may load from this server and nowhere else, and runs no script or style that is not one of those files: what a
model writes can neither call home nor become code.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parents[1] / "ui"
_INDEX = "index.html"
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
HEADERS = {
    # "data:" is for a picture in Temml's stylesheet; it asks nobody for anything.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",  # asked again each time, and answered with 304: a newer server has a newer page
}


@dataclass(frozen=True)
class _File:
    content: bytes
    media_type: str
    etag: str


def _read_files() -> dict[str, _File]:
    """All of the page, by its path below ``FOLDER``; nothing else can be asked for."""
    paths = [path for path in FOLDER.rglob("*") if path.suffix in _MEDIA_TYPES]
    return {path.relative_to(FOLDER).as_posix(): _read(path) for path in paths}


def _read(path: Path) -> _File:
    content = path.read_bytes()
    return _File(content, _MEDIA_TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:20]}"')


_FILES = _read_files()


@router.api_route("/", methods=["GET", "HEAD"])
async def index(request: Request) -> Response:
    """The page itself."""
    return _respond(request, _FILES[_INDEX])


@router.api_route("/ui/{name:path}", methods=["GET", "HEAD"])
async def file(request: Request, name: str) -> Response:
    """A script, a stylesheet or an image of the page."""
    if name not in _FILES:
        raise HTTPException(404)
    return _respond(request, _FILES[name])


def _respond(request: Request, file: _File) -> Response:
    headers = {**HEADERS, "etag": file.etag}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.media_type)
