"""What one client may take of the server: the size of its body, and how long it may be silent or not read.

The limits stand around the whole application, so that every route has them.
"""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmrt.config import ServerSettings
from llmrt.errors import BodyTooLargeError, OverloadedError, SlowClientError

_BODIES = 16  # bodies of full size that may be in memory at once


class ClientLimits:
    """Refuse bodies that are too large, too many at once or too slow, and leave clients that do not read."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self.max_bytes = int(settings.max_body_mb * 1e6)
        self.stall_seconds = settings.stall_seconds or None
        self.held_bytes = 0  # by all bodies that are being read or answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = _Client(self, scope, receive, send)
        try:
            await self._app(scope, client.receive, client.send)
        finally:
            self.held_bytes -= client.num_bytes


class _Client:
    def __init__(self, limits: ClientLimits, scope: Scope, receive: Receive, send: Send) -> None:
        self.num_bytes = 0
        self._limits = limits
        self._receive = receive
        self._send = send
        self._announced = _content_length(scope)
        self._is_whole = False

    async def receive(self) -> Message:
        if self._is_whole:
            return await self._receive()  # the client's leaving, however late
        self._check(self._announced)  # before any of it is asked for
        message = await self._next_part()
        self._is_whole = not message.get("more_body", False)
        self._hold(len(message.get("body", b"")))
        return message

    async def send(self, message: Message) -> None:
        try:
            async with asyncio.timeout(self._limits.stall_seconds):
                await self._send(message)
        except TimeoutError:
            raise ClientDisconnect from None  # as good as gone

    async def _next_part(self) -> Message:
        seconds = self._limits.stall_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._receive()
        except TimeoutError:
            raise SlowClientError(f"No more of the request's body came for {seconds:g} seconds.") from None

    def _hold(self, num_bytes: int) -> None:
        self.num_bytes += num_bytes
        self._limits.held_bytes += num_bytes
        self._check(self.num_bytes)
        if self._limits.held_bytes > _BODIES * self._limits.max_bytes:
            raise OverloadedError("The server is reading too many large requests; try again in a moment.")

    def _check(self, num_bytes: int) -> None:
        limit = self._limits.max_bytes
        if num_bytes > limit:
            raise BodyTooLargeError(f"The request's body has more than {limit / 1e6:g} MB; --max-body-mb allows more.")


def _content_length(scope: Scope) -> int:
    """What the client says that its body has; the HTTP parser has refused what is no number."""
    return next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)
