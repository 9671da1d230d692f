"""Around every request: its id, one log line, its count, and an answer when our own code fails."""

from __future__ import annotations

import logging

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmrt.server.error_forms import respond
from llmrt.server.errors import describe
from llmrt.server.exchange import Exchange, begin_exchange
from llmrt.server.logs import log, logger
from llmrt.server.metrics import Metrics

_CHECKS = ("/health", "/ready", "/metrics")  # which machines ask for every few seconds
_LEFT = 499  # nginx's status for a client that left before it was answered


class RequestLog:
    """Echo or make ``x-request-id``, and log the request under it and count it.

    An exception that no handler took is a bug: it is logged with its traceback, and answered with status 500
    while that is still possible. It is plain ASGI, so that a client that leaves is still seen below it.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = begin_exchange(scope)
        noting = _noting(exchange, send)
        try:
            await self._app(scope, receive, noting)
        except ClientDisconnect:
            pass  # the client left before its body was whole
        except Exception as error:
            logger.exception("%s failed", exchange, extra={"fields": {"request_id": exchange.id}})
            if exchange.status is not None:
                raise  # the response has begun: closing the connection is all that is left
            await respond(describe(error), scope)(scope, receive, noting)
        finally:
            handler = getattr(scope.get("route"), "path", "none")
            log("request", exchange.line, exchange.fields, _level(handler, exchange))
            self._metrics.count_http(exchange.method, exchange.status or _LEFT, handler)
            if exchange.error is not None and handler not in _CHECKS:
                self._metrics.count_error(exchange.error)


def _level(handler: str, exchange: Exchange) -> int:
    return logging.DEBUG if handler in _CHECKS and exchange.status == 200 else logging.INFO


def _noting(exchange: Exchange, send: Send) -> Send:
    """``send``, with the request's id in a header of OpenAI's and one of Anthropic's name."""

    async def note(message: Message) -> None:
        if message["type"] == "http.response.start":
            exchange.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = headers["request-id"] = exchange.id
        await send(message)

    return note
