"""``GET /v1/models`` and ``GET /v1/models/{id}``."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Response

from llmrt.server.responses import Model, ModelList
from llmrt.server.state import ServerState, State

router = APIRouter()


@router.get("/v1/models")
async def list_models(state: State) -> Response:
    """The served model, as a list."""
    return _json(ModelList([_model(state)]))


@router.get("/v1/models/{model_id:path}")
async def get_model(state: State, model_id: str) -> Response:
    """The served model under any of its names."""
    state.model.check_name(model_id)
    return _json(_model(state))


def _model(state: ServerState) -> Model:
    context_length = state.engine.info.context_length
    return Model(state.model.id, state.model.created, context_length, context_length)


def _json(record: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(record), media_type="application/json")
