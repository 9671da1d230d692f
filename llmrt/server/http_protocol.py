"""uvicorn's fast reading of HTTP, with the limits that it lacks, and a short way out for the pieces of a stream."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

_MAX_HEAD_BYTES = 1 << 16  # one that never ends would fill the memory
_HEAD_SECONDS = 60.0  # for one that never comes: connections would run out
_EXTENSION = "llmrt.stream"


class HttpProtocol(HttpToolsProtocol):
    """One connection. The head of each request, its line and headers, must fit in 64 KiB and come within a minute."""

    _head_bytes: int | None = 0  # received of it so far, None while a body is read
    _head_deadline: asyncio.TimerHandle
    _open: deque[RequestResponseCycle]  # the requests without a whole answer, in the order in which they end

    def connection_made(self, transport: asyncio.Transport) -> None:
        """The first head is waited for."""
        super().connection_made(transport)
        self._open = deque()
        self._head_deadline = self.loop.call_later(_HEAD_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for, and who computes an answer is told."""
        self._head_deadline.cancel()
        for cycle in self._open:
            cycle.disconnected |= not cycle.response_complete
            cycle.message_event.set()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A head has begun."""
        self._head_deadline.cancel()
        self._head_deadline = self.loop.call_later(_HEAD_SECONDS, self.transport.close)
        super().on_message_begin()

    def data_received(self, data: bytes) -> None:
        """Refuse to read on where a head is too long already."""
        if self._head_bytes is not None:
            if self._head_bytes > _MAX_HEAD_BYTES:
                self.send_400_response("The head of the request has more than 64 KiB.")
                return
            self._head_bytes += len(data)
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Whatever comes now is the body."""
        self._head_bytes = None
        self._head_deadline.cancel()
        super().on_headers_complete()
        while self._open and self._open[0].response_complete:
            self._open.popleft()
        self._open.append(self.cycle)
        self.scope["extensions"] = {_EXTENSION: {"write": partial(_write, self.cycle)}}

    def on_message_complete(self) -> None:
        """The next head begins."""
        self._head_bytes = 0
        super().on_message_complete()


def write_of(scope: Scope) -> Callable[[bytes], bool]:
    """What writes a piece of a response that has begun, unless it has to wait: then it returns False.

    The application's layers do not see these pieces, which saves what passing them on takes for each token.
    """
    return scope.get("extensions", {}).get(_EXTENSION, {}).get("write", _refuse)


def _refuse(_: bytes) -> bool:
    return False  # of another server, such as a test's


def _write(cycle: RequestResponseCycle, data: bytes) -> bool:
    if not cycle.chunked_encoding or cycle.flow.write_paused or cycle.disconnected:
        return False
    cycle.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
    return True
