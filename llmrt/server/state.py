"""What a route needs to answer with one model."""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmrt.config import ServerSettings
from llmrt.errors import OverloadedError, RequestError
from llmrt.server.adapters import ServedAdapter
from llmrt.server.engine_client import EngineClient
from llmrt.server.served_model import ServedModel


@dataclass(frozen=True)
class ServerState:
    """A model's text side, its engine, the settings, and the name of the adapter that answers, if one does."""

    engine: EngineClient
    model: ServedModel
    settings: ServerSettings
    adapter: str | None = None

    def with_adapter(self, adapter: ServedAdapter) -> ServerState:
        """The same for requests that name an adapter."""
        return replace(self, model=self.model.adapted(adapter.name, adapter.identity), adapter=adapter.name)

    def admit(self, num_requests: int) -> None:
        """Raise ``OverloadedError`` when the engine's queue has no room for ``num_requests`` more."""
        limit = self.settings.max_open_requests
        if num_requests > limit:
            raise RequestError(f"This is {num_requests} answers; the server's queue holds {limit}.", param="n")
        if self.engine.num_open + num_requests > limit:
            raise OverloadedError(f"The server's queue of {limit} requests is full; try again in a moment.")
