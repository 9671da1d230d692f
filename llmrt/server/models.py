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
from llmrt.server.served_model import Offer, load_served_model
from llmrt.server.state import ServerState

logger = logging.getLogger("llmrt.server")

_IN_USE_SECONDS = 5.0  # said to clients who wait for the end of others' requests, and kept to


@dataclass(eq=False)
class _Seat:
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

    def __init__(self, offers: Sequence[Offer], settings: ServerSettings, command: Sequence[str] | None) -> None:
        self.offers = offers
        self.adapters = ServedAdapters(offers)
        self._settings = settings
        self._keep_seconds = settings.keep_alive_seconds or math.inf
        self._command = command
        self.metrics = Metrics()
        self.metrics.registry.register(EngineCollector(self._engines))
        self._seats: dict[Offer, _Seat] = {}
        self._refused: dict[Offer, float] = {}  # when others were in use, while all of them are here
        self._one_by_one = asyncio.Lock()  # a load counts on the memory that is free when it begins
        self._adapters_one_by_one = asyncio.Lock()
        self._leaving = asyncio.create_task(self._unload_idle())

    @classmethod
    async def start(
        cls, offers: Sequence[Offer], settings: ServerSettings, command: Sequence[str] | None = None
    ) -> Models:
        """Begin to load the first of ``offers``. ``command`` stands in for the engine worker.

        Raises ``ConfigError`` for a name that two of them have, and ``LlmrtError`` for files that cannot be read.
        """
        _check_names(offers)
        models = cls(offers, settings, command)
        try:
            models.first = await models._take_seat(offers[0], models._begin(offers[0])).loading
        except LlmrtError:
            await models.close()
            raise
        return models

    @property
    def loaded(self) -> dict[Offer, ServerState]:
        """The models that have an engine, or will have when it is ready."""
        return {offer: seat.state for offer, seat in self._seats.items() if seat.state is not None}

    def _engines(self) -> dict[str, EngineClient]:
        return {offer.id: state.engine for offer, state in self.loaded.items()}

    def find(self, name: str | None) -> Offer:
        """The model of that name, or the base of that adapter; the first for no name. Raises ``RequestError``."""
        if name is None:
            return self.offers[0]
        adapter = self.adapters.find(name)
        if adapter is not None:
            return adapter.base
        for offer in self.offers:
            if name in offer.names or name.removesuffix(":latest") in offer.names:
                return offer
        ids = ", ".join(map(repr, [*(o.id for o in self.offers), *(a.name for a in self.adapters.all())]))
        raise RequestError(
            f"The model {name!r} is not served here; this server has {ids}.", param="model", code="model_not_found"
        )

    def context_length(self, offer: Offer) -> int | None:
        """None where no engine has said it: what fits is known when the model is loaded."""
        state = self.loaded.get(offer)
        try:
            return None if state is None else state.engine.info.context_length
        except UnavailableError:
            return None

    def check_ready(self) -> None:
        """Raise ``UnavailableError`` while the server starts, or starts its only engine again."""
        if len(self.loaded) == 1 and self.offers[0] in self.loaded:
            self.loaded[self.offers[0]].engine.check_ready()

    @asynccontextmanager
    async def use(self, name: str | None) -> AsyncGenerator[ServerState, None]:
        """The model of that name, loaded if need be; it is not unloaded inside. Raises ``LlmrtError``."""
        offer, adapter = self.find(name), self.adapters.find(name)
        seat = self._seats.get(offer)
        if seat is None or seat.is_lost:
            self._check_refused(offer)
            seat = self._take_seat(offer, self._load(offer))
        seat.num_users += 1
        try:
            state = await asyncio.shield(seat.loading)
            yield state if adapter is None else state.with_adapter(adapter)
        finally:
            seat.num_users -= 1
            seat.idle_since = time.monotonic()

    def keep(self, name: str | None, seconds: float) -> None:
        """The loaded model of that name leaves when it has been idle for ``seconds``; infinity: for want of memory."""
        self._seats[self.find(name)].keep_seconds = seconds

    def keep_seconds(self, offer: Offer) -> float:
        """How long the model stays when it is idle."""
        seat = self._seats.get(offer)
        return self._keep_seconds if seat is None else seat.keep_seconds

    async def load_adapter(self, name: str, path: str, base: str | None) -> None:
        """Have the engine of the model ``base`` load the adapter in the folder ``path``. Raises ``LlmrtError``."""
        self.adapters.check_new(name)
        offer = self.find(base)
        async with self._adapters_one_by_one, self.use(base) as state:
            self.adapters.check_new(name)
            await state.engine.load_adapter(name, path)
            self.adapters.add(ServedAdapter(name, path, offer))

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
        if len(self.offers) == 1 and not self._settings.keep_alive_seconds:
            await first.engine.ended()
        await asyncio.Event().wait()

    async def close(self) -> None:
        """End every engine and every open stream."""
        self._leaving.cancel()
        await asyncio.gather(*(self._unload(offer) for offer in [*self._seats]))

    def _take_seat(self, offer: Offer, loading: Coroutine[None, None, ServerState]) -> _Seat:
        seat = self._seats[offer] = _Seat(asyncio.create_task(loading), self._keep_seconds)
        return seat

    async def _begin(self, offer: Offer) -> ServerState:
        """The model, whose engine starts to load."""
        engine = EngineClient(
            offer.artifact.path,
            replace(offer.config, adapters=self.adapters.of(offer)),
            self._command,
            name=offer.id,
            metrics=self.metrics.of_model(offer.id),
            request_seconds=self._settings.request_seconds or None,
        )
        await engine.start()
        try:
            model = await asyncio.to_thread(load_served_model, offer)
        except BaseException:
            await engine.close()
            raise
        return ServerState(engine, model, self._settings)

    async def _load(self, offer: Offer) -> ServerState:
        """The model with its engine ready. Why there is none is raised, and logged."""
        try:
            return await self._load_in_turn(offer)
        except LlmrtError as error:
            logger.warning("%s could not be loaded: %s", offer.id, error)
            raise

    async def _load_in_turn(self, offer: Offer) -> ServerState:
        """Idle models make room for it."""
        async with self._one_by_one:
            await self._others_are_ready()
            while True:
                logger.info("loading %s", offer.id)
                state = await self._begin(offer)
                try:
                    await state.engine.ready()
                    return state
                except MemoryFitError as error:
                    await state.engine.close()
                    await self._make_room(offer, error)
                except BaseException:
                    await state.engine.close()
                    raise

    async def _others_are_ready(self) -> None:
        for state in self.loaded.values():
            with suppress(LlmrtError):
                await state.engine.ready()

    async def _make_room(self, offer: Offer, error: MemoryFitError) -> None:
        """Unload the model that has been idle for longest. Raises what to tell the client where none is idle."""
        idle = {other: seat for other, seat in self._seats.items() if seat.is_idle}
        if idle:
            await self._unload(min(idle, key=lambda other: idle[other].idle_since))
        elif self.loaded:
            self._refused[offer] = time.monotonic()
            raise _in_use(offer)
        else:
            raise error

    def _check_refused(self, offer: Offer) -> None:
        """Say the same again for a while, unless one is idle by now: to find out takes a process and lines of log."""
        refused = self._refused.get(offer, -math.inf)
        if time.monotonic() < refused + _IN_USE_SECONDS and not any(seat.is_idle for seat in self._seats.values()):
            raise _in_use(offer)

    async def _unload_idle(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, self._keep_seconds / 4))
            async with self._one_by_one:  # no load begins while memory is being given back
                for offer, seat in [*self._seats.items()]:
                    if seat.is_idle and time.monotonic() - seat.idle_since > seat.keep_seconds:
                        await self._unload(offer)

    async def _unload(self, offer: Offer) -> None:
        seat = self._seats.pop(offer)
        seat.loading.cancel()
        if seat.begun is not None:
            if not seat.is_lost:
                logger.info("unloading %s", offer.id)
            await seat.begun.engine.close()
        self._refused.clear()


def _in_use(offer: Offer) -> EngineLoadingError:
    message = f"{offer.id!r} needs memory that models in use have; try again in a moment."
    return EngineLoadingError(message, retry_after=_IN_USE_SECONDS)


def _check_names(offers: Sequence[Offer]) -> None:
    for name, count in Counter(offer.id for offer in offers).items():
        if count > 1:
            raise ConfigError(f"{count} models have the name {name!r}; tell them apart with --served-model-name.")
