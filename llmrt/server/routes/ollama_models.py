"""``/api/tags``, ``/api/ps``, ``/api/show`` and ``/api/version``: what Ollama's API tells of the models."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Response

from llmrt.server.dependencies import AllModels
from llmrt.server.dialects.ollama.body import ModelBody, ollama_body
from llmrt.server.dialects.ollama.models import loaded_record, model_record, show_record, version
from llmrt.server.dialects.ollama.records import ModelRecords
from llmrt.server.extra_fields import check_extra_fields, ignored_header

router = APIRouter()


@router.get("/api/tags")
async def tags(models: AllModels) -> Response:
    """All models, those too that are loaded when they are asked for."""
    models.check_ready()
    return _json(ModelRecords(await asyncio.to_thread(lambda: [model_record(offer) for offer in models.offers])))


@router.get("/api/ps")
async def loaded(models: AllModels) -> Response:
    """The models that are loaded."""
    models.check_ready()
    here = [(offer, models.context_length(offer), models.keep_seconds(offer)) for offer in models.loaded]
    records = [
        await asyncio.to_thread(loaded_record, offer, length, keep_seconds)
        for offer, length, keep_seconds in here
        if length is not None
    ]
    return _json(ModelRecords(records))


@router.post("/api/show")
async def show(models: AllModels, body: Annotated[ModelBody, Depends(ollama_body(ModelBody))]) -> Response:
    """A model in detail."""
    models.check_ready()
    offer = models.find(body.model or body.name)
    state = models.loaded.get(offer)
    model = None if state is None else state.model
    record = await asyncio.to_thread(show_record, offer, model, models.context_length(offer))
    return _json(record, ignored_header(check_extra_fields(body)))


@router.get("/api/version")
async def api_version() -> Response:
    """The version of the API."""
    return _json(version())


def _json(record: msgspec.Struct, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(record), headers=headers, media_type="application/json")
