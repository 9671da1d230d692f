"""The HTTP process's side of one engine process: start it, send it requests, hear of its death.

Outputs wait in queues here, so a slow reader never holds up the engine. One that falls too far behind is left. An
engine that has work and does nothing, or never ends a step, is ended like one that died.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from pathlib import Path

import msgspec
import psutil

from llmrt.config import EngineConfig
from llmrt.engine.channel import Inbox, encode_frame
from llmrt.engine.messages import (
    Abort,
    AdaptersChanged,
    Compiling,
    Failed,
    FromEngine,
    LoadAdapter,
    Outputs,
    Ready,
    Start,
    Submit,
    ToEngine,
    UnloadAdapter,
)
from llmrt.engine.request import RequestOutput
from llmrt.engine.stats import EngineStats
from llmrt.errors import (
    DeadlineError,
    EngineDeadError,
    EngineLoadingError,
    LlmrtError,
    MemoryFitError,
    RequestError,
    SlowClientError,
)
from llmrt.server.metrics import ModelMetrics
from llmrt.server.standstill import processor_seconds, standstill

logger = logging.getLogger("llmrt.server")

WORKER = (sys.executable, "-m", "llmrt.engine.worker")
_EXIT_SECONDS = 5.0
_LOAD_SECONDS = 2.0  # said to clients while nobody knows

_REST_SECONDS = 60.0  # without using the processor
_STEP_SECONDS = 300.0  # that a step may take: a layer of a prompt, or a token; on a GPU also a kernel's compilation
_MAX_BACKLOG = 4096  # outputs that wait for one reader: those of a minute or more

_MOST_JOINED = 32  # tokens of a request; what is made of them holds up all other streams

_Output = RequestOutput | LlmrtError
_Queue = asyncio.Queue[_Output]


class EngineProcess:
    """One engine process. Made by ``start``; belongs to the event loop that made it."""

    def __init__(self, process: subprocess.Popen[bytes], load_seconds: float) -> None:
        self._process = process
        self._transport: asyncio.Transport  # set by start
        self._queues: dict[str, _Queue] = {}
        self._changes: deque[asyncio.Future[None]] = deque()  # of adapters, in the order in which they are answered
        self.stats = EngineStats()
        self._started = time.monotonic()
        self._load_seconds = load_seconds
        loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[str] = loop.create_future()  # why
        self._ready: asyncio.Future[Ready] = loop.create_future()
        self._ready.add_done_callback(lambda future: future.exception())  # whoever awaits it hears of it
        self._num_records = 0  # received
        self._watching = [
            asyncio.create_task(self._watch(lambda: processor_seconds(self.pid), _REST_SECONDS, "did nothing")),
            asyncio.create_task(self._watch_steps()),
        ]

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
        engine = cls(process, load_seconds)
        line = _Line(engine._receive, engine._lost)
        engine._transport, _ = await asyncio.get_running_loop().create_unix_connection(lambda: line, sock=ours)
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
    def _has_work(self) -> bool:
        """Whether it is loading its model, or has something to answer."""
        return not self._ready.done() or self.num_open + len(self._changes) > 0

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

    def check_ready(self) -> None:
        """Raise as ``info`` unless there is an engine with its model."""
        _ = self.info

    async def ready(self) -> Ready:
        """Wait for the model. Raises ``LlmrtError`` with the engine's own line if it cannot be loaded."""
        return await asyncio.shield(self._ready)

    async def ended(self) -> str:
        """Wait until requests can no longer be computed; returns why."""
        return await asyncio.shield(self._ended)

    async def generate(
        self, requests: Sequence[Submit], metrics: ModelMetrics, seconds: float | None = None
    ) -> AsyncGenerator[RequestOutput, None]:
        """The outputs of all ``requests`` as they come, until each has finished; ``metrics`` are told of them.

        Those of several steps are one where they come faster than they are taken.
        Closing the generator early aborts what is unfinished. Raises ``EngineDeadError`` or ``EngineLoadingError``
        when there is no engine, also midway, ``DeadlineError`` after ``seconds``, and ``SlowClientError`` when
        too many outputs were left in it.
        """
        self.check_ready()
        queue: _Queue = asyncio.Queue()
        unfinished = {request.request_id for request in requests}
        deadline = self._deadline(seconds, queue, unfinished)
        try:
            with metrics.watch(requests) as watch:
                for request in requests:
                    self._submit(request, queue)
                while unfinished:
                    for output in await _take(queue):
                        if isinstance(output, LlmrtError):
                            raise output
                        watch.see(output)
                        if output.finish_reason is not None:
                            unfinished.discard(output.request_id)
                        yield output
                    if not queue.empty():
                        await asyncio.sleep(0)  # for the other streams
        finally:
            if deadline is not None:
                deadline.cancel()
            for request_id in unfinished:
                self.abort(request_id)

    def abort(self, request_id: str) -> None:
        """Stop computing a request; its outputs end with the reason "abort". Unknown ids are ignored."""
        queue = self._queues.pop(request_id, None)
        if queue is not None:
            self._send(Abort(request_id))
            queue.put_nowait(RequestOutput(request_id, (), finish_reason="abort"))

    async def change_adapters(self, change: LoadAdapter | UnloadAdapter) -> None:
        """Load or unload a LoRA adapter between two steps. Raises ``RequestError`` with the engine's line."""
        self.check_ready()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changes.append(done)
        self._send(change)
        await asyncio.shield(done)

    async def close(self, reason: str = "The server is shutting down.") -> None:
        """End the process and every open stream. Waits until the process is gone."""
        self._end(reason)
        for watching in self._watching:
            watching.cancel()
        self._transport.close()
        try:
            await asyncio.to_thread(self._process.wait, _EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    def _deadline(self, seconds: float | None, queue: _Queue, request_ids: Collection[str]) -> asyncio.Handle | None:
        if seconds is None:
            return None
        error = DeadlineError("The answer took longer than this server's --request-seconds.")
        return asyncio.get_running_loop().call_later(seconds, self._leave, queue, error, request_ids)

    def _leave(self, queue: _Queue, error: LlmrtError, request_ids: Collection[str]) -> None:
        """End the requests of ``queue`` with an error."""
        queue.put_nowait(error)
        for request_id in request_ids:
            self.abort(request_id)

    def _submit(self, request: Submit, queue: _Queue) -> None:
        assert request.request_id not in self._queues
        self._queues[request.request_id] = queue
        self._send(request)

    def _send(self, record: ToEngine) -> None:
        if not self._ended.done():
            self._transport.write(encode_frame(record))

    def _lost(self) -> None:
        if not self._ended.done():
            self._exiting = asyncio.create_task(self._exit())

    async def _exit(self) -> None:
        self._end(f"The engine process {await self._exit_status()}.")

    async def _watch_steps(self) -> None:
        await asyncio.wait([self._ready])  # loading has none
        await self._watch(lambda: self._num_records, _STEP_SECONDS, "ended no step")

    async def _watch(self, sign: Callable[[], float], seconds: float, complaint: str) -> None:
        """End a process whose ``sign`` of life stays the same for so long although it has work."""
        try:
            await standstill(sign, lambda: self._has_work, seconds)
        except psutil.NoSuchProcess:
            return  # the connection tells
        if not self._ended.done():
            work = "had work" if self._ready.done() else "was loading its model"
            self._end(f"The engine process {work} and {complaint} for {seconds:g} s, so it was ended.")
            self._process.kill()

    def _receive(self, record: FromEngine) -> None:
        self._num_records += 1
        match record:
            case Ready():
                self._load_seconds = time.monotonic() - self._started
                self._ready.set_result(record)
            case Failed():
                self._end(record.message, MemoryFitError if record.needs_memory else LlmrtError)
            case Compiling():
                logger.info("compiling %d kernels for the GPU; later starts find them on disk", record.num_kernels)
            case AdaptersChanged():
                _resolve(self._changes.popleft(), _refusal(record))
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
            error = SlowClientError("The answer was read too slowly, so its end was not computed.")
            self._leave(queue, error, [output.request_id])

    def _end(self, reason: str, kind: type[LlmrtError] = LlmrtError) -> None:
        if self._ended.done():
            return
        self._ended.set_result(reason)
        if not self._ready.done():
            self._ready.set_exception(kind(reason))
        for queue in self._queues.values():
            queue.put_nowait(self._death(reason))
        self._queues.clear()
        for done in self._changes:
            _resolve(done, self._death(reason))
        self._changes.clear()

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
        if status == -signal.SIGBUS:
            return "was ended by a bus error (SIGBUS), as happens when a model's file is cut short while it is read"
        return f"ended with status {status}"


async def _take(queue: _Queue) -> Sequence[_Output]:
    """What waits, up to ``_MOST_JOINED`` tokens of a request. Who is behind catches up: many tokens at once cost little
    more than one.
    """
    waiting = [await queue.get()]
    num_tokens = Counter[str]()
    while not queue.empty() and _note(num_tokens, waiting[-1]) < _MOST_JOINED:
        waiting.append(queue.get_nowait())
    return waiting if len(waiting) == 1 else _joined(waiting)


def _note(num_tokens: Counter[str], output: _Output) -> int:
    """Count the tokens of ``output``; returns how many its request has."""
    if isinstance(output, LlmrtError):
        return 0
    num_tokens[output.request_id] += len(output.token_ids)
    return num_tokens[output.request_id]


def _joined(outputs: Sequence[_Output]) -> list[_Output]:
    """One for each request; an end without tokens stays by itself, so that what came before it is not lost."""
    joined: list[_Output] = []
    begun: dict[str, RequestOutput] = {}
    for output in outputs:
        if isinstance(output, LlmrtError) or output.finish_reason in ("abort", "error"):
            joined.append(output)
        elif (before := begun.get(output.request_id)) is not None:
            before.extend(output)
        else:
            joined.append(output)
            begun[output.request_id] = output
    return joined


def _refusal(answer: AdaptersChanged) -> RequestError | None:
    return None if answer.error is None else RequestError(answer.error, param="lora_path")


def _resolve(done: asyncio.Future[None], error: LlmrtError | None) -> None:
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


class _Line(asyncio.Protocol):
    """The connection to the process. It hands on each record as it comes, and says when no more can come."""

    def __init__(self, receive: Callable[[FromEngine], None], lost: Callable[[], None]) -> None:
        self._receive, self._lost = receive, lost
        self._inbox = Inbox(msgspec.msgpack.Decoder(FromEngine))

    def data_received(self, data: bytes) -> None:
        try:
            records = self._inbox.push(data)
        except msgspec.MsgspecError:
            self._lost()
            return
        for record in records:
            self._receive(record)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost()
