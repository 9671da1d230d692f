"""Around every request: its id, one log line, and an answer when our own code fails."""

from __future__ import annotations

import logging
import re
import time
import uuid
from contextvars import ContextVar

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmrt.server.error_forms import respond
from llmrt.server.errors import describe

logger = logging.getLogger("llmrt.server")
request_id: ContextVar[str] = ContextVar("request_id")  # of the request that this context answers
_CLIENT_ID = re.compile(r"[\x21-\x7e]{1,128}")


class RequestLog:
    """Echo or make ``x-request-id``, and log the request under it.

    An exception that no handler took is a bug: it is logged with its traceback, and answered with status 500
    while that is still possible. It is plain ASGI, so that a client that leaves is still seen below it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        try:
            await self._app(scope, receive, exchange.send)
        except ClientDisconnect:
            pass  # the client left before its body was whole
        except Exception as error:
            logger.exception("%s failed", exchange)
            if exchange.status is not None:
                raise  # the response has begun: closing the connection is all that is left
            await respond(describe(error), scope["path"])(scope, receive, exchange.send)
        finally:
            logger.info("%s %s %.3fs", exchange, exchange.status or "closed", exchange.seconds)


class _Exchange:
    def __init__(self, scope: Scope, send: Send) -> None:
        self.status: int | None = None
        self._send = send
        self._line = f"{scope['method']} {scope['raw_path'].decode('ascii', 'backslashreplace')}"
        self._id = _request_id(scope)
        self._began = time.monotonic()
        request_id.set(self._id)

    def __str__(self) -> str:
        return f"{self._id} {self._line}"

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = headers["request-id"] = self._id  # OpenAI's name and Anthropic's
        await self._send(message)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        text = value.decode("latin-1")
        if name == b"x-request-id" and _CLIENT_ID.fullmatch(text):
            return text
    return f"req_{uuid.uuid4().hex}"
