"""Answers that stream: a sign of life in silence, errors after the headers, and an end on disconnect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import aclosing
from time import monotonic
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from msgspec import Struct
from starlette.types import Message, Receive, Scope, Send

from llmrt.errors import LlmrtError
from llmrt.server.errors import describe
from llmrt.server.exchange import current_exchange
from llmrt.server.framing import Framing
from llmrt.server.http_protocol import write_of
from llmrt.server.json_response import json_response
from llmrt.server.logs import logger

T = TypeVar("T")
RecordT = TypeVar("RecordT", bound=Struct)


class RecordStream(StreamingResponse):
    """A stream of records, closed as soon as its client is gone.

    While no record comes, a sign of life goes out every ``ping_seconds`` (never if 0): proxies and clients close a
    connection that is silent for long.
    """

    def __init__(
        self,
        records: AsyncGenerator[RecordT, None],
        framing: Framing[RecordT],
        headers: Mapping[str, str],
        *,
        ping_seconds: float,
    ) -> None:
        self._frames = frames(records, framing)
        self._sign_of_life = framing.idle
        self._ping_seconds = ping_seconds
        self._sent_at = 0.0
        no_buffering = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        super().__init__(self._frames, headers={**headers, **no_buffering}, media_type=framing.media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The records and the signs of life are sent beside each other, so that a record waits for nothing."""
        self._write = write_of(scope)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        work = [self._send_frames(send), _disconnect(receive)]
        if self._ping_seconds:
            work.append(self._send_signs(send))
        await _first_of(*work)

    async def _send_frames(self, send: Send) -> None:
        async with aclosing(self._frames):
            async for frame in self._frames:
                await self._send(send, frame)
        await send(_body(b"", more=False))

    async def _send_signs(self, send: Send) -> None:
        self._sent_at = monotonic()
        while True:
            await asyncio.sleep(self._sent_at + self._ping_seconds - monotonic())
            if monotonic() >= self._sent_at + self._ping_seconds:
                await self._send(send, self._sign_of_life())

    async def _send(self, send: Send, frame: bytes) -> None:
        if not self._write(frame):
            await send(_body(frame, more=True))
        self._sent_at = monotonic()


async def frames(records: AsyncGenerator[RecordT, None], framing: Framing[RecordT]) -> AsyncGenerator[bytes, None]:
    """The records and the end behind them; the failure and nothing more if they fail."""
    try:
        async with aclosing(records):
            async for record in records:
                yield framing.record(record)
    except Exception as error:
        if not isinstance(error, LlmrtError):
            exchange = current_exchange()
            logger.exception("%s failed in its stream", exchange, extra={"fields": {"request_id": exchange.id}})
        failure = describe(error)
        current_exchange().error = failure.kind
        yield framing.failure(failure)
    else:
        if framing.end:
            yield framing.end


async def until_disconnect(
    request: Request, answer: Coroutine[Any, Any, Struct], headers: Mapping[str, str]
) -> Response:
    """Wait for ``answer``, or cancel it when the client goes. The body of ``request`` must have been read."""
    record = await _first_of(answer, _disconnect(request.receive))
    if record is None:
        return Response(status_code=499)  # nobody will read it
    return json_response(record, headers)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _first_of(*work: Coroutine[Any, Any, T]) -> T:
    """What the first of ``work`` to end returns or raises; the others are cancelled, and waited for."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task.done()).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _body(frame: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": frame, "more_body": more}
