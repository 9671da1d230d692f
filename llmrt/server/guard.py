"""Who may use the server: whoever has a key, or, where none is asked for, everybody but web pages of other sites."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from llmrt.config import ServerSettings
from llmrt.errors import AccessError, AdminError, ApiKeyError
from llmrt.server.api_keys import ApiKeys
from llmrt.server.error_forms import respond
from llmrt.server.errors import describe
from llmrt.server.foreign_pages import check_origin

_OPEN = ("/", "/health", "/ready", "/docs", "/openapi.json")
_PAGE = "/ui/"  # the files of the page at /, which asks for a key itself


class Guard:
    """Answer requests that are not allowed. It is around the whole application, so that no route is forgotten."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        keys = (*settings.api_keys, *settings.admin_keys) if settings.asks_keys else ()
        self._keys = ApiKeys(keys, settings.api_key_file)
        self._admin_keys = ApiKeys(settings.admin_keys)
        self._origins = settings.cors_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        try:
            if scope["type"] == "http":
                self._check(scope)
        except AccessError as error:
            await respond(describe(error), scope)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers, path = Headers(scope=scope), scope["path"]
        scope["is_admin"] = any(map(self._admin_keys.accepts, _keys_in(headers)))
        if not self._keys:
            check_origin(headers, scope["server"][0], self._origins)
        elif path not in _OPEN and not path.startswith(_PAGE):
            self._check_key(headers)

    def _check_key(self, headers: Headers) -> None:
        given = _keys_in(headers)
        if not given:
            raise ApiKeyError(
                "This server needs an API key: send it as `Authorization: Bearer KEY` or `x-api-key: KEY`."
            )
        if not any(map(self._keys.accepts, given)):
            raise ApiKeyError("The API key is none of this server's.")


async def check_admin(request: Request) -> None:
    """A dependency of routes that change the server for all. Raises ``AdminError``."""
    if not request.scope["is_admin"]:
        raise AdminError("This needs the admin key of the server, which --admin-key or LLMRT_ADMIN_KEY gives it.")


def _keys_in(headers: Headers) -> list[str]:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return [key for key in (bearer, headers.get("x-api-key", "")) if key]
