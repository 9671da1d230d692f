"""An HTTP client that costs next to nothing: one socket a request, and a time stamp for each event of a stream.

What it costs is taken from the server on the same cores, so what comes is kept, with its time, and read afterwards.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from benchmarks.serving.server import HOST, MODEL_ID

_LINE_LIMIT = 1 << 20
_DATA, _DONE = b"data: ", b"data: [DONE]"

_Arrival = tuple[float, bytes]  # when, and what


@dataclass
class Reply:
    """When a stream was asked for, and when each of its events came, in seconds of ``time.perf_counter``.

    ``status`` is None if the connection ended before there was one. ``is_whole`` if the stream came to its own end.
    """

    begin: float = 0.0
    status: int | None = None
    times: list[float] = field(default_factory=list[float])
    events: list[bytes] = field(default_factory=list[bytes])
    is_whole: bool = False

    def records(self) -> list[Any]:
        """The events as JSON."""
        return [json.loads(each[len(_DATA) :]) for each in self.events]

    def text(self) -> str:
        """The text of the first choice."""
        return "".join(choice["text"] for record in self.records() for choice in record.get("choices", ())[:1])

    def error(self) -> str | None:
        """The message of an error event."""
        errors = [record["error"]["message"] for record in self.records() if "error" in record]
        return errors[0] if errors else None


def body_of(prompt: list[int] | str, max_tokens: int, **fields: Any) -> dict[str, Any]:
    """A greedy completion of exactly ``max_tokens`` tokens, streamed, that finds no prefix in any cache of prompts."""
    always = {"temperature": 0, "ignore_eos": True, "stream": True, "model": MODEL_ID}
    return {"prompt": prompt, "max_tokens": max_tokens, **always, **fields}


@asynccontextmanager
async def connected(port: int) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that is closed at the end, whatever was read of it."""
    reader, writer = await asyncio.open_connection(HOST, port, limit=_LINE_LIMIT)
    try:
        yield reader, writer
    finally:
        writer.close()


def request_bytes(body: dict[str, Any] | bytes, path: str = "/v1/completions", method: str = "POST") -> bytes:
    """A whole HTTP request."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\nconnection: close\r\n"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content


async def stream(port: int, body: dict[str, Any], into: Reply | None = None) -> Reply:
    """Ask for a completion and read it to its end. A connection that breaks leaves a reply that is not whole.

    When it is cancelled, what came so far is in ``into``.
    """
    reply, arrivals = into or Reply(), list[_Arrival]()
    try:
        await _receive(port, request_bytes(body), reply, arrivals)
    finally:
        _fill(reply, arrivals)
    return reply


async def stream_chats(port: int, bodies: Iterable[dict[str, Any]]) -> list[Reply]:
    """Ask for chat answers side by side. Reading one takes milliseconds, so all are read when the last is there."""
    requests = [request_bytes(body, "/v1/chat/completions") for body in bodies]
    pairs = [(Reply(), list[_Arrival]()) for _ in requests]
    await asyncio.gather(*(_receive(port, request, *pair) for request, pair in zip(requests, pairs, strict=True)))
    for reply, arrivals in pairs:
        _fill(reply, arrivals)
    return [reply for reply, _ in pairs]


async def _receive(port: int, request: bytes, reply: Reply, arrivals: list[_Arrival]) -> None:
    """Set when the ``reply`` began, and add what comes to ``arrivals``."""
    reply.begin = time.perf_counter()
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        transport, listener = await loop.create_connection(lambda: _Listener(arrivals), HOST, port)
        transport.write(request)
        try:
            await listener.ended
        finally:
            transport.close()


async def read_status(reader: asyncio.StreamReader) -> int:
    """The status of an answer, whose headers are read too. Raises ``ConnectionError`` if there is none."""
    first = await reader.readline()
    if not first:
        raise ConnectionError("the server closed the connection")
    while (await reader.readline()).strip():
        pass
    return int(first.split()[1])


class _Listener(asyncio.Protocol):
    """Adds what comes, and when, to ``arrivals``."""

    def __init__(self, arrivals: list[_Arrival]) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrivals = arrivals

    def data_received(self, data: bytes) -> None:
        self._arrivals.append((time.perf_counter(), data))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


def _fill(reply: Reply, arrivals: list[_Arrival]) -> None:
    """Lines that begin no event are sizes of chunks, comments, and what is between."""
    rest = b""
    for moment, data in arrivals:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if reply.status is None:
                reply.status = int(line.split()[1])
            elif line.startswith(_DONE):
                reply.is_whole = True
            elif line.startswith(_DATA):
                reply.times.append(moment)
                reply.events.append(line.strip())
