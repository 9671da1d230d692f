"""``GET /v1/models`` and ``GET /v1/models/{id}``, which Anthropic's clients ask for under the same names."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import UNSET

from llmrt.server.adapters import ServedAdapter
from llmrt.server.dependencies import AllModels
from llmrt.server.dialects.anthropic.body import PageQuery
from llmrt.server.dialects.anthropic.client import is_anthropic
from llmrt.server.dialects.anthropic.models import model_info, model_page
from llmrt.server.fields import as_body
from llmrt.server.json_response import json_response
from llmrt.server.models import Models
from llmrt.server.responses import Model, ModelList
from llmrt.server.served_model import ModelSpec

router = APIRouter()


@router.get("/v1/models")
async def list_models(request: Request, models: AllModels) -> Response:
    """All models, those too that are loaded when they are asked for. Status 503 while the server starts."""
    models.check_ready()
    adapters = [_adapter(models, adapter) for adapter in models.adapters.all()]
    listed = [*(_model(models, spec) for spec in models.specs), *adapters]
    if is_anthropic(request.scope):
        return json_response(model_page(listed, as_body(PageQuery, request.query_params)))
    return json_response(ModelList(listed))


@router.get("/v1/models/{model_id:path}")
async def get_model(request: Request, models: AllModels, model_id: str) -> Response:
    """One model under any of its names."""
    models.check_ready()
    adapter = models.adapters.find(model_id)
    found = _model(models, models.find(model_id)) if adapter is None else _adapter(models, adapter)
    return json_response(model_info(found) if is_anthropic(request.scope) else found)


def _model(models: Models, spec: ModelSpec) -> Model:
    length = models.context_length(spec)
    known = UNSET if length is None else length
    return Model(spec.id, spec.created, max_model_len=known, context_length=known)


def _adapter(models: Models, adapter: ServedAdapter) -> Model:
    base = _model(models, adapter.base)
    return msgspec.structs.replace(base, id=adapter.name, created=adapter.created, parent=base.id)
