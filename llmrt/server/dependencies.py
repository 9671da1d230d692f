"""What the routes are given: all models, or the one that a request names, for as long as it is answered."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated

import msgspec
from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel

from llmrt.server.exchange import current_exchange
from llmrt.server.fields import as_body
from llmrt.server.models import Models
from llmrt.server.state import ServerState


def set_models(app: FastAPI, models: Models) -> None:
    """Give ``models`` to the routes of ``app``."""
    app.state.models = models


async def _all_models(request: Request) -> Models:  # FastAPI would call another function in a thread
    models = request.app.state.models
    assert isinstance(models, Models)
    return models


AllModels = Annotated[Models, Depends(_all_models)]


class ModelQuery(BaseModel):
    """The ``model`` that is asked about, the first one unless it is sent."""

    model: str | None = None


class _Naming(msgspec.Struct, frozen=True):
    model: str | None = None


async def _named_model(request: Request) -> str | None:
    """The model that the body names, or the query where there is no body.

    A body that cannot be read is refused by the route, which reads all of it.
    """
    if request.method == "GET":
        return as_body(ModelQuery, request.query_params).model
    try:
        return msgspec.json.decode(await request.body(), type=_Naming).model
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


async def _state(
    models: AllModels, name: Annotated[str | None, Depends(_named_model)]
) -> AsyncGenerator[ServerState, None]:
    """FastAPI leaves this when the response has been sent, to its last event."""
    async with models.use(name) as state:
        current_exchange().model = state.model.id
        yield state


State = Annotated[ServerState, Depends(_state)]
