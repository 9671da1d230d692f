"""Server-sent events: framing, comment lines in silence, errors after the headers, and an end on disconnect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing
from typing import TypeVar

import msgspec
from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Send

from llmrt.errors import LlmrtError
from llmrt.server.errors import describe
from llmrt.server.middleware import logger, request_id

T = TypeVar("T")
_READ_AHEAD = 64  # records that wait for a client that does not read
PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"
# Legal in JSON, but many clients split an event's lines there.
_LINE_BREAKS = (("\u2028", b"\\u2028"), ("\u2029", b"\\u2029"), ("\u0085", b"\\u0085"))


class EventStream(StreamingResponse):
    """A stream of server-sent events, closed as soon as its client is gone."""

    def __init__(self, events: AsyncGenerator[bytes, None], headers: Mapping[str, str]) -> None:
        self._events = events
        no_buffering = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        super().__init__(events, headers={**headers, **no_buffering}, media_type="text/event-stream")

    async def stream_response(self, send: Send) -> None:
        """As in the base class, which leaves closing the generator to the garbage collector."""
        async with aclosing(self._events):
            await super().stream_response(send)


def event(record: msgspec.Struct) -> bytes:
    """One event with ``record`` as JSON."""
    return b"data: " + _on_one_line(msgspec.json.encode(record)) + b"\n\n"


async def events(records: AsyncGenerator[msgspec.Struct, None], *, ping_seconds: float) -> AsyncGenerator[bytes, None]:
    """The records as events and ``[DONE]`` behind them; an error event and nothing more if they fail.

    While no record comes, a comment line goes out every ``ping_seconds`` (never if 0): proxies and clients
    close a connection that is silent for long.
    """
    try:
        async with aclosing(_with_idle(records, ping_seconds)) as ticks:
            async for record in ticks:
                yield PING if record is None else event(record)
    except Exception as error:
        if not isinstance(error, LlmrtError):
            logger.exception("%s failed in its stream", request_id.get("a request"))
        yield b"data: " + _on_one_line(describe(error).content) + b"\n\n"
    else:
        yield DONE


async def until_disconnect(request: Request, answer: Awaitable[T]) -> T | Response:
    """Wait for ``answer``, or cancel it when the client goes. The body of ``request`` must have been read."""
    working = asyncio.ensure_future(answer)
    watching = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else Response(status_code=499)  # nobody will read it
    finally:
        working.cancel()
        watching.cancel()


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _with_idle(records: AsyncGenerator[T, None], seconds: float) -> AsyncGenerator[T | None, None]:
    """The records, and None whenever none came for ``seconds``."""
    queue: asyncio.Queue[T | Exception] = asyncio.Queue(_READ_AHEAD)
    pump = asyncio.create_task(_pump(records, queue))
    try:
        while True:
            try:
                async with asyncio.timeout(seconds or None):
                    item = await queue.get()
            except TimeoutError:
                yield None
                continue
            if isinstance(item, StopAsyncIteration):
                return
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        pump.cancel()  # which closes the records: they are only ever touched in that task


async def _pump(records: AsyncGenerator[T, None], queue: asyncio.Queue[T | Exception]) -> None:
    try:
        async with aclosing(records):
            async for record in records:
                await queue.put(record)
        await queue.put(StopAsyncIteration())
    except Exception as error:
        await queue.put(error)


def _on_one_line(content: bytes) -> bytes:
    for character, escape in _LINE_BREAKS:
        content = content.replace(character.encode("utf-8"), escape)
    return content
