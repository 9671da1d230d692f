"""The HTTP process's side of the engine process: start it, send it requests, hear of its death.

Outputs wait in queues here for as long as their readers need, so a slow reader never holds up the engine.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import msgspec

from llmrt.config import EngineConfig
from llmrt.engine.channel import HEADER, encode_frame
from llmrt.engine.messages import Abort, Failed, FromEngine, Outputs, Ready, Start, Submit, ToEngine
from llmrt.engine.request import RequestOutput
from llmrt.errors import EngineDeadError, EngineLoadingError, LlmrtError

logger = logging.getLogger("llmrt.server")

WORKER = (sys.executable, "-m", "llmrt.engine.worker")
_EXIT_SECONDS = 5.0

_Queue = asyncio.Queue[RequestOutput | str]  # a string says why the engine is gone


class EngineClient:
    """One engine process. Made by ``start``; belongs to the event loop that made it."""

    def __init__(
        self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._queues: dict[str, _Queue] = {}
        self._gone: str | None = None
        self._ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self._ready.add_done_callback(lambda future: future.exception())  # whoever awaits it hears of it
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, model_path: Path, config: EngineConfig, command: Sequence[str] | None = None) -> EngineClient:
        """Start a process that loads the model; ``ready`` waits for it. ``command`` stands in for the worker."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [*(command or WORKER), "--fd", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl+C is for us: streams end before the engine does
            )
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        client = cls(process, reader, writer)
        client._send(Start(str(model_path), config))
        return client

    @property
    def pid(self) -> int:
        """The engine's process id."""
        return self._process.pid

    @property
    def num_open(self) -> int:
        """Requests that are waiting or being computed."""
        return len(self._queues)

    @property
    def info(self) -> Ready:
        """The loaded model. Raises ``EngineLoadingError`` before, and ``EngineDeadError`` after its time."""
        if self._gone is not None:
            raise EngineDeadError(self._gone)
        if not self._ready.done():
            raise EngineLoadingError("The model is still being loaded; try again in a moment.")
        return self._ready.result()

    async def ready(self) -> Ready:
        """Wait for the model. Raises ``LlmrtError`` with the engine's own line if it cannot be loaded."""
        return await asyncio.shield(self._ready)

    async def generate(self, requests: Sequence[Submit]) -> AsyncGenerator[RequestOutput, None]:
        """The outputs of all ``requests`` as they come, until each has finished.

        Closing the generator early aborts what is unfinished. Raises ``EngineDeadError`` or
        ``EngineLoadingError`` when there is no engine, also midway.
        """
        queue: _Queue = asyncio.Queue()
        unfinished = {request.request_id for request in requests}
        try:
            for request in requests:
                self._submit(request, queue)
            while unfinished:
                output = await queue.get()
                if isinstance(output, str):
                    raise EngineDeadError(output)
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
        self._fail(reason)
        self._reading.cancel()
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
        if self._gone is None:
            self._writer.write(encode_frame(record))

    async def _read(self) -> None:
        decoder = msgspec.msgpack.Decoder(FromEngine)
        try:
            while self._gone is None:
                (size,) = HEADER.unpack(await self._reader.readexactly(HEADER.size))
                self._receive(decoder.decode(await self._reader.readexactly(size)))
        except (asyncio.IncompleteReadError, OSError, msgspec.MsgspecError):
            reason = f"The engine process ended{await self._exit_status()}."
            logger.error(reason)
            self._fail(reason)

    def _receive(self, record: FromEngine) -> None:
        match record:
            case Ready():
                self._ready.set_result(record)
            case Failed():
                self._fail(record.message)
            case Outputs():
                for output in record.outputs:
                    self._deliver(output)

    def _deliver(self, output: RequestOutput) -> None:
        queue = self._queues.get(output.request_id)
        if queue is None:
            return  # aborted while the output was on its way
        if output.finish_reason is not None:
            del self._queues[output.request_id]
        queue.put_nowait(output)

    def _fail(self, reason: str) -> None:
        if self._gone is not None:
            return
        self._gone = reason
        if not self._ready.done():
            self._ready.set_exception(LlmrtError(reason))
        for queue in self._queues.values():
            queue.put_nowait(reason)
        self._queues.clear()

    async def _exit_status(self) -> str:
        try:
            return f" with status {await asyncio.to_thread(self._process.wait, 1.0)}"
        except subprocess.TimeoutExpired:
            return ""
