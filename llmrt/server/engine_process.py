"""The HTTP process's side of one engine process: start it, send it requests, hear of its death.

Outputs wait in queues here, so a slow reader never holds up the engine. One that falls too far behind is left. An
engine that has work and does nothing is ended like one that died.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import msgspec

from llmrt.config import EngineConfig
from llmrt.engine.channel import HEADER, encode_frame
from llmrt.engine.messages import Abort, Failed, FromEngine, Outputs, Ready, Start, Submit, ToEngine
from llmrt.engine.request import RequestOutput
from llmrt.engine.stats import EngineStats
from llmrt.errors import DeadlineError, EngineDeadError, EngineLoadingError, LlmrtError, MemoryFitError, SlowClientError
from llmrt.server.standstill import standstill

logger = logging.getLogger("llmrt.server")

WORKER = (sys.executable, "-m", "llmrt.engine.worker")
_EXIT_SECONDS = 5.0
_LOAD_SECONDS = 2.0  # said to clients while nobody knows

_HANG_SECONDS = 60.0  # without work done
_MAX_BACKLOG = 4096  # outputs that wait for one reader: those of a minute or more

_Queue = asyncio.Queue[RequestOutput | LlmrtError]


class EngineProcess:
    """One engine process. Made by ``start``; belongs to the event loop that made it."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        load_seconds: float,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._queues: dict[str, _Queue] = {}
        self.stats = EngineStats()
        self._started = time.monotonic()
        self._load_seconds = load_seconds
        loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[str] = loop.create_future()  # why
        self._ready: asyncio.Future[Ready] = loop.create_future()
        self._ready.add_done_callback(lambda future: future.exception())  # whoever awaits it hears of it
        self._reading = asyncio.create_task(self._read())
        self._watching = asyncio.create_task(self._watch())

    @classmethod
    async def start(
        cls,
        model_path: Path,
        config: EngineConfig,
        command: Sequence[str] | None = None,
        load_seconds: float = _LOAD_SECONDS,
    ) -> EngineProcess:
        """Start a process that loads the model, which takes about ``load_seconds``; ``ready`` waits for it.

        ``command`` stands in for the worker.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [*(command or WORKER), "--fd", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl+C is for us: streams end before the engine does
            )
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        engine = cls(process, reader, writer, load_seconds)
        engine._send(Start(str(model_path), config))
        return engine

    @property
    def pid(self) -> int:
        """The operating system's number of the process."""
        return self._process.pid

    @property
    def num_open(self) -> int:
        """Requests that are waiting or being computed."""
        return len(self._queues)

    @property
    def load_seconds(self) -> float:
        """How long the model took to load, or a guess before it has."""
        return self._load_seconds

    @property
    def info(self) -> Ready:
        """The loaded model. Raises ``EngineLoadingError`` before, and ``EngineDeadError`` after its time."""
        if self._ended.done():
            raise self._death(self._ended.result())
        if not self._ready.done():
            raise EngineLoadingError(
                "The model is still being loaded; try again in a moment.", retry_after=self._load_seconds
            )
        return self._ready.result()

    async def ready(self) -> Ready:
        """Wait for the model. Raises ``LlmrtError`` with the engine's own line if it cannot be loaded."""
        return await asyncio.shield(self._ready)

    async def ended(self) -> str:
        """Wait until requests can no longer be computed; returns why."""
        return await asyncio.shield(self._ended)

    async def generate(
        self, requests: Sequence[Submit], seconds: float | None = None
    ) -> AsyncGenerator[RequestOutput, None]:
        """The outputs of all ``requests`` as they come, until each has finished.

        Closing the generator early aborts what is unfinished. Raises ``EngineDeadError`` or ``EngineLoadingError``
        when there is no engine, also midway, ``DeadlineError`` after ``seconds``, and ``SlowClientError`` when
        too many outputs were left in it.
        """
        queue: _Queue = asyncio.Queue()
        deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
        unfinished = {request.request_id for request in requests}
        try:
            for request in requests:
                self._submit(request, queue)
            while unfinished:
                output = await _next(queue, deadline)
                if output.finish_reason is not None:
                    unfinished.discard(output.request_id)
                yield output
        finally:
            for request_id in unfinished:
                self.abort(request_id)

    def abort(self, request_id: str) -> None:
        """Stop computing a request; its outputs end with the reason "abort". Unknown ids are ignored."""
        queue = self._queues.pop(request_id, None)
        if queue is not None:
            self._send(Abort(request_id))
            queue.put_nowait(RequestOutput(request_id, (), finish_reason="abort"))

    async def close(self, reason: str = "The server is shutting down.") -> None:
        """End the process and every open stream. Waits until the process is gone."""
        self._end(reason)
        self._reading.cancel()
        self._watching.cancel()
        self._writer.close()
        try:
            await asyncio.to_thread(self._process.wait, _EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    def _submit(self, request: Submit, queue: _Queue) -> None:
        _ = self.info  # raises unless there is an engine
        assert request.request_id not in self._queues
        self._queues[request.request_id] = queue
        self._send(request)

    def _send(self, record: ToEngine) -> None:
        if not self._ended.done():
            self._writer.write(encode_frame(record))

    async def _read(self) -> None:
        decoder = msgspec.msgpack.Decoder(FromEngine)
        try:
            while not self._ended.done():
                (size,) = HEADER.unpack(await self._reader.readexactly(HEADER.size))
                self._receive(decoder.decode(await self._reader.readexactly(size)))
        except (asyncio.IncompleteReadError, OSError, msgspec.MsgspecError):
            reason = f"The engine process {await self._exit_status()}."
            logger.error(reason)
            self._end(reason)

    async def _watch(self) -> None:
        await asyncio.wait([self._ready])
        await standstill(self.pid, lambda: self.num_open > 0, _HANG_SECONDS)
        if not self._ended.done():
            reason = f"The engine process had work and did nothing for {_HANG_SECONDS:g} s, so it was ended."
            logger.error(reason)
            self._end(reason)
            self._process.kill()

    def _receive(self, record: FromEngine) -> None:
        match record:
            case Ready():
                self._load_seconds = time.monotonic() - self._started
                self._ready.set_result(record)
            case Failed():
                self._end(record.message, MemoryFitError if record.needs_memory else LlmrtError)
            case Outputs():
                self.stats = record.stats or self.stats
                for notice in record.notices:
                    logger.warning(notice)
                for output in record.outputs:
                    self._deliver(output)

    def _deliver(self, output: RequestOutput) -> None:
        queue = self._queues.get(output.request_id)
        if queue is None:
            return  # aborted while the output was on its way
        queue.put_nowait(output)
        if output.finish_reason is not None:
            del self._queues[output.request_id]
        elif queue.qsize() > _MAX_BACKLOG:
            queue.put_nowait(SlowClientError("The answer was read too slowly, so its end was not computed."))
            self.abort(output.request_id)

    def _end(self, reason: str, kind: type[LlmrtError] = LlmrtError) -> None:
        if self._ended.done():
            return
        self._ended.set_result(reason)
        if not self._ready.done():
            self._ready.set_exception(kind(reason))
        for queue in self._queues.values():
            queue.put_nowait(self._death(reason))
        self._queues.clear()

    def _death(self, reason: str) -> EngineDeadError:
        """Another engine needs about as long as this one to be there."""
        return EngineDeadError(reason, retry_after=self._load_seconds)

    async def _exit_status(self) -> str:
        try:
            status = await asyncio.to_thread(self._process.wait, 1.0)
        except subprocess.TimeoutExpired:
            return "closed its connection"
        if status == -signal.SIGKILL:
            return "was killed (SIGKILL), as happens when the machine runs out of memory"
        return f"ended with status {status}"


async def _next(queue: _Queue, deadline: float | None) -> RequestOutput:
    """The next output, or the error that comes in its place."""
    try:
        async with asyncio.timeout_at(deadline):
            output = await queue.get()
    except TimeoutError:
        raise DeadlineError("The answer took longer than this server's --request-seconds.") from None
    if isinstance(output, LlmrtError):
        raise output
    return output
