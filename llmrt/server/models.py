"""The models of a server: one engine process for each that is loaded, which happens when a request names it.

A model in use stays. One that is idle leaves when another needs its memory, which the engine that finds too little
says, or after ``keep_alive_seconds``, or after what a request asked for.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

from llmrt.config import ServerSettings
from llmrt.errors import ConfigError, EngineLoadingError, LlmrtError, MemoryFitError, RequestError, UnavailableError
from llmrt.server.adapters import ServedAdapter, ServedAdapters
from llmrt.server.engine_client import EngineClient
from llmrt.server.engine_metrics import EngineCollector
from llmrt.server.metrics import Metrics
from llmrt.server.served_model import ModelSpec, load_served_model
from llmrt.server.state import ServerState

logger = logging.getLogger("llmrt.server")

_IN_USE_SECONDS = 5.0  # said to clients who wait for the end of others' requests, and kept to


@dataclass(eq=False)
class _LoadedModel:
    """A model that is loaded, or being loaded by ``loading``, and how many requests use it.

    It leaves when it has been idle for ``keep_seconds``.
    """

    loading: asyncio.Task[ServerState]
    keep_seconds: float
    num_users: int = 0
    idle_since: float = field(default_factory=time.monotonic)

    @property
    def begun(self) -> ServerState | None:
        """What has an engine process, or had one."""
        task = self.loading
        return None if not task.done() or task.cancelled() or task.exception() is not None else task.result()

    @property
    def state(self) -> ServerState | None:
        """What was loaded, unless it is lost."""
        return None if self.begun is None or self.begun.engine.is_over else self.begun

    @property
    def is_idle(self) -> bool:
        return self.state is not None and self.num_users == 0

    @property
    def is_lost(self) -> bool:
        return self.loading.done() and self.state is None


class Models:
    """Made by ``start``; belongs to the event loop that made it. ``first`` is what was loaded at the start."""

    first: ServerState

    def __init__(self, specs: Sequence[ModelSpec], settings: ServerSettings, command: Sequence[str] | None) -> None:
        self.specs = specs
        self.adapters = ServedAdapters(specs)
        self._settings = settings
        self._keep_seconds = settings.keep_alive_seconds or math.inf
        self._command = command
        self.metrics = Metrics()
        self.metrics.registry.register(EngineCollector(self._engines))
        self._entries: dict[ModelSpec, _LoadedModel] = {}
        self._refused: dict[ModelSpec, float] = {}  # when others were in use, while all of them are here
        self._one_by_one = asyncio.Lock()  # a load counts on the memory that is free when it begins
        self._adapters_one_by_one = asyncio.Lock()
        self._leaving = asyncio.create_task(self._unload_idle())

    @classmethod
    async def start(
        cls, specs: Sequence[ModelSpec], settings: ServerSettings, command: Sequence[str] | None = None
    ) -> Models:
        """Begin to load the first of ``specs``. ``command`` stands in for the engine worker.

        Raises ``ConfigError`` for a name that two of them have, and ``LlmrtError`` for files that cannot be read.
        """
        _check_names(specs)
        models = cls(specs, settings, command)
        try:
            models.first = await models._enter(specs[0], models._begin(specs[0])).loading
        except LlmrtError:
            await models.close()
            raise
        return models

    @property
    def loaded(self) -> dict[ModelSpec, ServerState]:
        """The models that have an engine, or will have when it is ready."""
        return {spec: entry.state for spec, entry in self._entries.items() if entry.state is not None}

    def _engines(self) -> dict[str, EngineClient]:
        return {spec.id: state.engine for spec, state in self.loaded.items()}

    def find(self, name: str | None) -> ModelSpec:
        """The model of that name, or the base of that adapter; the first for no name. Raises ``RequestError``."""
        if name is None:
            return self.specs[0]
        adapter = self.adapters.find(name)
        if adapter is not None:
            return adapter.base
        for spec in self.specs:
            if name in spec.names or name.removesuffix(":latest") in spec.names:
                return spec
        ids = ", ".join(map(repr, [*(spec.id for spec in self.specs), *(a.name for a in self.adapters.all())]))
        raise RequestError(
            f"The model {name!r} is not served here; this server has {ids}.", param="model", code="model_not_found"
        )

    def context_length(self, spec: ModelSpec) -> int | None:
        """None where no engine has said it: what fits is known when the model is loaded."""
        state = self.loaded.get(spec)
        try:
            return None if state is None else state.engine.info.context_length
        except UnavailableError:
            return None

    def check_ready(self) -> None:
        """Raise ``UnavailableError`` while the server starts, or starts its only engine again."""
        if len(self.loaded) == 1 and self.specs[0] in self.loaded:
            self.loaded[self.specs[0]].engine.check_ready()

    @asynccontextmanager
    async def use(self, name: str | None) -> AsyncGenerator[ServerState, None]:
        """The model of that name, loaded if need be; it is not unloaded inside. Raises ``LlmrtError``."""
        spec, adapter = self.find(name), self.adapters.find(name)
        entry = self._entries.get(spec)
        if entry is None or entry.is_lost:
            self._check_refused(spec)
            entry = self._enter(spec, self._load(spec))
        entry.num_users += 1
        try:
            state = await asyncio.shield(entry.loading)
            yield state if adapter is None else state.with_adapter(adapter)
        finally:
            entry.num_users -= 1
            entry.idle_since = time.monotonic()

    def keep(self, name: str | None, seconds: float) -> None:
        """The loaded model of that name leaves when it has been idle for ``seconds``; infinity: for want of memory."""
        self._entries[self.find(name)].keep_seconds = seconds

    def keep_seconds(self, spec: ModelSpec) -> float:
        """How long the model stays when it is idle."""
        entry = self._entries.get(spec)
        return self._keep_seconds if entry is None else entry.keep_seconds

    async def load_adapter(self, name: str, path: str, base: str | None) -> None:
        """Have the engine of the model ``base`` load the adapter in the folder ``path``. Raises ``LlmrtError``."""
        self.adapters.check_new(name)
        spec = self.find(base)
        async with self._adapters_one_by_one, self.use(base) as state:
            self.adapters.check_new(name)
            await state.engine.load_adapter(name, path)
            self.adapters.add(ServedAdapter(name, path, spec))

    async def unload_adapter(self, name: str) -> None:
        """Take no more requests for the adapter. Raises ``RequestError`` for one that is not there."""
        async with self._adapters_one_by_one:
            adapter = self.adapters.take(name)
            state = self.loaded.get(adapter.base)
            try:
                if state is not None:
                    await state.engine.unload_adapter(name)
            except UnavailableError:
                self.adapters.add(adapter)  # the engine that follows has it
                raise

    async def failed(self) -> None:
        """Wait for a reason to stop the server. Raises the ``LlmrtError`` that says it.

        That is a first model that cannot be loaded, or an only one whose engine is lost later.
        """
        async with self.use(None) as first:  # which is not idle before it is ready
            await first.engine.ready()
        if len(self.specs) == 1 and not self._settings.keep_alive_seconds:
            await first.engine.ended()
        await asyncio.Event().wait()

    async def close(self) -> None:
        """End every engine and every open stream."""
        self._leaving.cancel()
        await asyncio.gather(*(self._unload(spec) for spec in [*self._entries]))

    def _enter(self, spec: ModelSpec, loading: Coroutine[None, None, ServerState]) -> _LoadedModel:
        entry = self._entries[spec] = _LoadedModel(asyncio.create_task(loading), self._keep_seconds)
        return entry

    async def _begin(self, spec: ModelSpec) -> ServerState:
        """The model, whose engine starts to load."""
        engine = EngineClient(
            spec.artifact.path,
            replace(spec.config, adapters=self.adapters.of(spec)),
            self._command,
            name=spec.id,
            metrics=self.metrics.of_model(spec.id),
            request_seconds=self._settings.request_seconds or None,
        )
        await engine.start()
        try:
            model = await asyncio.to_thread(load_served_model, spec)
        except BaseException:
            await engine.close()
            raise
        return ServerState(engine, model, self._settings)

    async def _load(self, spec: ModelSpec) -> ServerState:
        """The model with its engine ready. Why there is none is raised, and logged."""
        try:
            return await self._load_in_turn(spec)
        except LlmrtError as error:
            logger.warning("%s could not be loaded: %s", spec.id, error)
            raise

    async def _load_in_turn(self, spec: ModelSpec) -> ServerState:
        """Idle models make room for it."""
        async with self._one_by_one:
            await self._others_are_ready()
            while True:
                logger.info("loading %s", spec.id)
                state = await self._begin(spec)
                try:
                    await state.engine.ready()
                    return state
                except MemoryFitError as error:
                    await state.engine.close()
                    await self._make_room(spec, error)
                except BaseException:
                    await state.engine.close()
                    raise

    async def _others_are_ready(self) -> None:
        for state in self.loaded.values():
            with suppress(LlmrtError):
                await state.engine.ready()

    async def _make_room(self, spec: ModelSpec, error: MemoryFitError) -> None:
        """Unload the model that has been idle for longest. Raises what to tell the client where none is idle."""
        idle = {other: entry for other, entry in self._entries.items() if entry.is_idle}
        if idle:
            await self._unload(min(idle, key=lambda other: idle[other].idle_since))
        elif self.loaded:
            self._refused[spec] = time.monotonic()
            raise _in_use(spec)
        else:
            raise error

    def _check_refused(self, spec: ModelSpec) -> None:
        """Say the same again for a while, unless one is idle by now: to find out takes a process and lines of log."""
        refused = self._refused.get(spec, -math.inf)
        if time.monotonic() < refused + _IN_USE_SECONDS and not any(entry.is_idle for entry in self._entries.values()):
            raise _in_use(spec)

    async def _unload_idle(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, self._keep_seconds / 4))
            async with self._one_by_one:  # no load begins while memory is being given back
                for spec, entry in [*self._entries.items()]:
                    if entry.is_idle and time.monotonic() - entry.idle_since > entry.keep_seconds:
                        await self._unload(spec)

    async def _unload(self, spec: ModelSpec) -> None:
        entry = self._entries.pop(spec)
        entry.loading.cancel()
        if entry.begun is not None:
            if not entry.is_lost:
                logger.info("unloading %s", spec.id)
            await entry.begun.engine.close()
        self._refused.clear()


def _in_use(spec: ModelSpec) -> EngineLoadingError:
    message = f"{spec.id!r} needs memory that models in use have; try again in a moment."
    return EngineLoadingError(message, retry_after=_IN_USE_SECONDS)


def _check_names(specs: Sequence[ModelSpec]) -> None:
    for name, count in Counter(spec.id for spec in specs).items():
        if count > 1:
            raise ConfigError(f"{count} models have the name {name!r}; tell them apart with --served-model-name.")
