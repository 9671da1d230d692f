"""The engine as the routes see it, whichever process it is just now: one that dies is followed by another.

What the dead one was computing ends with an error. Requests that come before the next one is ready are refused
with the time after which to come back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil

from llmrt.config import EngineConfig
from llmrt.engine.messages import LoadAdapter, Ready, Submit, UnloadAdapter
from llmrt.engine.request import RequestOutput
from llmrt.engine.stats import EngineStats
from llmrt.errors import EngineLoadingError, LlmrtError, UnavailableError
from llmrt.server.backoff import Backoff
from llmrt.server.engine_process import EngineProcess
from llmrt.server.metrics import ModelMetrics

logger = logging.getLogger("llmrt.server")


class EngineClient:
    """Keeps one engine process alive, from ``start`` on; belongs to the event loop that started it.

    ``command`` stands in for the worker. An answer may take ``request_seconds``. ``metrics`` are told of every request.
    The log calls the model by ``name``.
    """

    def __init__(
        self,
        model_path: Path,
        config: EngineConfig,
        command: Sequence[str] | None = None,
        *,
        name: str,
        metrics: ModelMetrics,
        request_seconds: float | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._model_path, self._config, self._command = model_path, config, command
        self._name = name
        self._metrics = metrics
        self._request_seconds = request_seconds
        self._backoff = backoff or Backoff()
        self._process: EngineProcess  # set by start
        self._living: asyncio.Task[None]
        self._restart_at: float | None = None  # set from a death until the next engine is ready
        self.num_restarts = 0

    async def start(self) -> None:
        """Start an engine that loads the model; ``ready`` waits for it."""
        self._process = await EngineProcess.start(self._model_path, self._config, self._command)
        self._living = asyncio.create_task(self._live())
        self._living.add_done_callback(_retrieve)

    @property
    def pid(self) -> int:
        """The operating system's number of the engine process."""
        return self._process.pid

    @property
    def num_open(self) -> int:
        """Requests that are waiting or being computed."""
        return self._process.num_open

    @property
    def stats(self) -> EngineStats:
        """The state of the engine process."""
        return self._process.stats

    @property
    def is_ready(self) -> bool:
        """Whether requests can be answered."""
        with suppress(UnavailableError):
            return bool(self.info)
        return False

    @property
    def memory_bytes(self) -> int:
        """What the process has in memory, with the files that it maps; 0 for one that has ended."""
        with suppress(psutil.Error):
            return psutil.Process(self.pid).memory_info().rss
        return 0

    @property
    def is_over(self) -> bool:
        """Whether no engine can be had any more."""
        return self._living.done()

    @property
    def info(self) -> Ready:
        """The loaded model. Raises ``EngineLoadingError`` while there is none, and ``EngineDeadError`` at the end."""
        if self._restart_at is not None:
            raise self._restarting(self._restart_at)
        return self._process.info

    def check_ready(self) -> None:
        """Raise as ``info`` unless there is an engine with its model."""
        _ = self.info

    async def ready(self) -> Ready:
        """Wait for the first engine. Raises ``LlmrtError`` with its own line if it cannot load the model."""
        return await self._process.ready()

    async def ended(self) -> None:
        """Wait until no engine can be had any more. Raises ``LlmrtError`` that says why, or returns after ``close``."""
        await asyncio.wait([self._living])
        if not self._living.cancelled():
            self._living.result()

    def generate(self, requests: Sequence[Submit]) -> AsyncGenerator[RequestOutput, None]:
        """See ``EngineProcess.generate``."""
        self.check_ready()
        return self._process.generate(requests, self._metrics, self._request_seconds)

    async def load_adapter(self, name: str, path: str) -> None:
        """Load a LoRA adapter, in every engine that follows too. Raises ``LlmrtError`` for one that cannot be used."""
        await self._process.change_adapters(LoadAdapter(name, path))
        self._config = replace(self._config, adapters=(*self._config.adapters, (name, path)))

    async def unload_adapter(self, name: str) -> None:
        """Take no more requests for it, neither in this engine nor in one that follows."""
        await self._process.change_adapters(UnloadAdapter(name))
        self._config = replace(self._config, adapters=tuple(kept for kept in self._config.adapters if kept[0] != name))

    def abort(self, request_id: str) -> None:
        """See ``EngineProcess.abort``."""
        self._process.abort(request_id)

    async def close(self) -> None:
        """End the process and every open stream, for good."""
        self._living.cancel()
        await asyncio.wait([self._living])
        self._restart_at = None
        await self._process.close()

    async def _live(self) -> None:
        """Follow every engine by another until one cannot be had. Raises ``LlmrtError`` that says why."""
        await self._process.ready()
        self._note_load()
        while True:
            ready_at = time.monotonic()
            reason = await self._process.ended()
            life = time.monotonic() - ready_at
            while not await self._restarted(reason, life):
                reason, life = await self._process.ended(), 0.0

    async def _restarted(self, reason: str, life: float) -> bool:
        """Start another engine after a while; whether it has loaded its model."""
        logger.error("the engine of %s has ended: %s", self._name, reason)
        wait = self._backoff.after(life)
        if wait is None:
            raise LlmrtError(f"The engine ended {self._backoff.num_deaths} times in a row; the last time: {reason}")
        self._restart_at = time.monotonic() + wait
        logger.warning("the engine of %s is started again in %g s", self._name, wait)
        load_seconds = self._process.load_seconds
        await self._process.close(reason)  # all of its memory is free before the next one takes any
        await asyncio.sleep(wait)
        self.num_restarts += 1
        bare = replace(self._config, adapters=())
        self._process = await EngineProcess.start(self._model_path, bare, self._command, load_seconds)
        try:
            await self._process.ready()
        except LlmrtError:
            return False  # why it has ended is logged like any other end
        await self._load_adapters_again()
        self._restart_at = None
        self._note_load()
        logger.warning("the engine of %s is ready again after %.1f s", self._name, self._process.load_seconds)
        return True

    def _note_load(self) -> None:
        self._metrics.loads.observe(self._process.load_seconds)

    async def _load_adapters_again(self) -> None:
        """One whose folder has gone or changed for the worse is left out: it alone is lost, not the model."""
        for name, path in self._config.adapters:
            try:
                await self._process.change_adapters(LoadAdapter(name, path))
            except LlmrtError as error:
                logger.error("the adapter %s could not be loaded again: %s", name, error)

    def _restarting(self, restart_at: float) -> EngineLoadingError:
        wait = max(0.0, restart_at - time.monotonic()) + self._process.load_seconds
        return EngineLoadingError(
            "The engine ended and is being started again; try again in a moment.", retry_after=wait
        )


def _retrieve(living: asyncio.Task[None]) -> None:
    """Take note of how it ended; ``ended`` raises it for who asks."""
    if not living.cancelled():
        living.exception()
