"""Answers that stream: a sign of life in silence, errors after the headers, and an end on disconnect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing
from typing import TypeVar

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from msgspec import Struct
from starlette.types import Send

from llmrt.errors import LlmrtError
from llmrt.server.errors import describe
from llmrt.server.exchange import current_exchange
from llmrt.server.framing import Framing
from llmrt.server.logs import logger

T = TypeVar("T")
RecordT = TypeVar("RecordT", bound=Struct)
_READ_AHEAD = 64  # records that wait for a client that does not read


class RecordStream(StreamingResponse):
    """A stream of records, closed as soon as its client is gone."""

    def __init__(
        self,
        records: AsyncGenerator[RecordT, None],
        framing: Framing[RecordT],
        headers: Mapping[str, str],
        *,
        ping_seconds: float,
    ) -> None:
        self._frames = frames(records, framing, ping_seconds=ping_seconds)
        no_buffering = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        super().__init__(self._frames, headers={**headers, **no_buffering}, media_type=framing.media_type)

    async def stream_response(self, send: Send) -> None:
        """As in the base class, which leaves closing the generator to the garbage collector."""
        async with aclosing(self._frames):
            await super().stream_response(send)


async def frames(
    records: AsyncGenerator[RecordT, None], framing: Framing[RecordT], *, ping_seconds: float
) -> AsyncGenerator[bytes, None]:
    """The records and the end behind them; the failure and nothing more if they fail.

    While no record comes, a sign of life goes out every ``ping_seconds`` (never if 0): proxies and clients close a
    connection that is silent for long.
    """
    try:
        async with aclosing(_with_idle(records, ping_seconds)) as ticks:
            async for record in ticks:
                yield framing.idle() if record is None else framing.record(record)
    except Exception as error:
        if not isinstance(error, LlmrtError):
            exchange = current_exchange()
            logger.exception("%s failed in its stream", exchange, extra={"fields": {"request_id": exchange.id}})
        yield framing.failure(describe(error))
    else:
        if framing.end:
            yield framing.end


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
