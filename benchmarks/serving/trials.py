"""What goes wrong around a server, one function each. Watched answers are compared with what the server gave alone."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Any

import psutil

from benchmarks.serving.client import Reply, body_of, connected, read_status, request_bytes, stream
from benchmarks.serving.fuzz import malformed
from benchmarks.serving.prompts import Prompts
from benchmarks.serving.server import Server

OUTPUT = 24
_HANG_SECONDS = 60.0
_AT_ONCE = 20  # clients
_WATCH_PAUSE = 0.2  # so that the server is not busy with watched answers alone


class Watch:
    """Prompts whose answers are known: each is its own marker, for no two of them continue alike."""

    def __init__(self, port: int, prompts: Prompts, count: int) -> None:
        self.port = port
        self._prompts = [prompts.of(20 + 30 * i) for i in range(count)]
        self._expected: list[str] = []

    async def learn(self) -> None:
        """Ask for each answer alone."""
        self._expected = [(await self._ask(i)).text() for i in range(len(self._prompts))]
        assert len(set(self._expected)) == len(self._expected), "the answers do not tell the prompts apart"

    async def check(self, during: Awaitable[Any] | None = None) -> dict[str, int]:
        """Ask for all at once, again and again until ``during`` is done; how many came right, wrong, and not whole."""
        counts = {"right": 0, "wrong": 0, "not_whole": 0}
        working = None if during is None else asyncio.ensure_future(during)
        while True:
            replies = await asyncio.gather(*(self._ask(i) for i in range(len(self._prompts))))
            for reply, expected in zip(replies, self._expected, strict=True):
                is_whole = reply.is_whole and reply.status == 200
                counts["not_whole" if not is_whole else "right" if reply.text() == expected else "wrong"] += 1
            if working is None or working.done():
                break
            await asyncio.sleep(_WATCH_PAUSE)
        if working is not None:
            working.result()
        return counts

    async def _ask(self, i: int) -> Reply:
        return await asyncio.wait_for(stream(self.port, body_of(self._prompts[i], OUTPUT)), _HANG_SECONDS)


def engine_of(server: Server) -> psutil.Process:
    """The engine's process."""
    children = psutil.Process(server.process.pid).children()  # templates have a process too
    (engine,) = [child for child in children if "llmrt.engine.worker" in child.cmdline()]
    return engine


def resources(server: Server) -> dict[str, dict[str, int]]:
    """Memory and open files of both processes."""
    named = {"http": psutil.Process(server.process.pid), "engine": engine_of(server)}
    return {
        name: {"memory_bytes": process.memory_info().rss, "open_files": process.num_fds()}
        for name, process in named.items()
    }


async def vanish(port: int, count: int, prompts: Prompts, draw: random.Random) -> None:
    """Clients that leave: in the queue, in a long prompt, in the middle of an answer."""

    async def leave() -> None:
        body = body_of(prompts.of(draw.choice([8, 400, 900])), 100)
        with suppress(OSError):
            async with connected(port) as (reader, writer):
                writer.write(request_bytes(body))
                if draw.random() < 0.5:
                    await asyncio.sleep(draw.random() * 0.5)
                else:
                    await reader.readuntil(b"data: ")
                    await asyncio.sleep(draw.random() * 0.1)

    for start in range(0, count, _AT_ONCE):
        await asyncio.gather(*(leave() for _ in range(min(_AT_ONCE, count - start))))


async def fuzz(port: int, count: int, draw: random.Random) -> dict[str, int]:
    """Malformed bodies; how often each status came, 0 for one that is neither 200 nor tells of an error in JSON."""
    statuses: dict[str, int] = {}

    async def one(path: str, content: bytes) -> None:
        async with connected(port) as (reader, writer):
            writer.write(request_bytes(content, path))
            status = await asyncio.wait_for(read_status(reader), _HANG_SECONDS)
            answer = await asyncio.wait_for(reader.read(), _HANG_SECONDS)
        is_answer = status == 200 or _is_error(answer)
        key = str(status if is_answer else 0)
        statuses[key] = statuses.get(key, 0) + 1

    for start in range(0, count, _AT_ONCE):
        await asyncio.gather(*(one(*malformed(draw)) for _ in range(min(_AT_ONCE, count - start))))
    return dict(sorted(statuses.items()))


def _is_error(answer: bytes) -> bool:
    """Such as the clients of each dialect read, chunked or not."""
    try:
        return "error" in json.loads(answer[answer.index(b"{") : answer.rindex(b"}") + 1])
    except ValueError:
        return False


async def read_slowly(port: int, count: int, seconds: float, prompts: Prompts) -> None:
    """Clients that ask for long answers and read nothing of them."""

    async def sleep() -> None:
        async with connected(port) as (reader, writer):
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(request_bytes(body_of(prompts.of(8), 900, n=4, return_token_ids=True)))
            await asyncio.sleep(seconds)

    await asyncio.gather(*(sleep() for _ in range(count)))


async def kill_engine(server: Server, prompts: Prompts, count: int) -> dict[str, Any]:
    """Kill the engine behind ``count`` streams; how they end, and how long until requests are answered again."""
    tasks = [asyncio.create_task(stream(server.port, body_of(prompts.of(50), 900))) for _ in range(count)]
    await asyncio.sleep(1.0)
    engine_of(server).send_signal(signal.SIGKILL)
    start = time.perf_counter()
    replies = await asyncio.wait_for(asyncio.gather(*tasks), _HANG_SECONDS)
    ended = time.perf_counter() - start
    await asyncio.to_thread(server.wait_until_ready)
    return {**endings(replies), "ended_after": ended, "ready_after": time.perf_counter() - start}


async def terminate(server: Server, prompts: Prompts, count: int, output: int) -> dict[str, Any]:
    """SIGTERM to the server with ``count`` answers under way."""
    tasks = [asyncio.create_task(stream(server.port, body_of(prompts.of(50), output))) for _ in range(count)]
    await asyncio.sleep(1.0)
    seconds = await asyncio.to_thread(server.stop)
    replies = await asyncio.wait_for(asyncio.gather(*tasks), _HANG_SECONDS)
    return {**endings(replies), "seconds": seconds, "exit_status": server.process.returncode}


def endings(replies: Sequence[Reply]) -> dict[str, int]:
    """Whole answers, those that ended with an error event, and those that ended without a word."""
    whole = sum(reply.is_whole for reply in replies)
    told = sum(not reply.is_whole and reply.error() is not None for reply in replies)
    return {"whole": whole, "ended_with_an_error": told, "ended_without_a_word": len(replies) - whole - told}
