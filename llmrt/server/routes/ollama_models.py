"""``/api/tags``, ``/api/ps``, ``/api/show`` and ``/api/version``: what Ollama's API tells of the models.

It could change them too, over the network. Here that is for who runs the server, and clients are told so.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from llmrt.errors import RequestError
from llmrt.server.dependencies import AllModels
from llmrt.server.dialects.ollama.body import ModelBody, PullBody, ollama_body
from llmrt.server.dialects.ollama.models import loaded_record, model_record, show_record, version
from llmrt.server.dialects.ollama.records import ModelRecords, Status
from llmrt.server.extra_fields import check_extra_fields, ignored_header
from llmrt.server.json_response import json_response

router = APIRouter()

_MODELS = "models are named when it starts: llmrt serve MODEL MODEL ..."


@router.head("/api/tags", include_in_schema=False)
@router.get("/api/tags")
async def tags(models: AllModels) -> Response:
    """All models, those too that are loaded when they are asked for."""
    models.check_ready()
    records = await asyncio.to_thread(lambda: [model_record(spec) for spec in models.specs])
    return json_response(ModelRecords(records))


@router.get("/api/ps")
async def loaded(models: AllModels) -> Response:
    """The models that are loaded."""
    models.check_ready()
    here = [(spec, models.context_length(spec), models.keep_seconds(spec)) for spec in models.loaded]
    records = [
        await asyncio.to_thread(loaded_record, spec, length, keep_seconds)
        for spec, length, keep_seconds in here
        if length is not None
    ]
    return json_response(ModelRecords(records))


@router.post("/api/show")
async def show(models: AllModels, body: Annotated[ModelBody, Depends(ollama_body(ModelBody))]) -> Response:
    """A model in detail."""
    models.check_ready()
    spec = models.find(body.model or body.name)
    state = models.loaded.get(spec)
    model = None if state is None else state.model
    record = await asyncio.to_thread(show_record, spec, model, models.context_length(spec))
    return json_response(record, ignored_header(check_extra_fields(body)))


@router.head("/api/version", include_in_schema=False)
@router.get("/api/version")
async def api_version() -> Response:
    """The version of the API."""
    return json_response(version())


@router.post("/api/pull")
async def pull(models: AllModels, body: Annotated[PullBody, Depends(ollama_body(PullBody))]) -> Response:
    """A model that is served is there: clients ask for theirs before they use it."""
    try:
        models.find(body.model or body.name)
    except RequestError as error:
        raise RequestError(f"{error} Its {_MODELS}", param=error.param, code=error.code) from None
    done, headers = Status("success"), ignored_header(check_extra_fields(body))
    if body.stream is False:
        return json_response(done, headers)
    return Response(msgspec.json.encode(done) + b"\n", headers=headers, media_type="application/x-ndjson")


@router.post("/api/create", include_in_schema=False)
@router.post("/api/copy", include_in_schema=False)
@router.post("/api/push", include_in_schema=False)
@router.post("/api/blobs/{digest}", include_in_schema=False)
@router.delete("/api/delete", include_in_schema=False)
async def change(request: Request) -> Response:
    """What is refused."""
    raise RequestError(f"{request.url.path} is not supported: the server's {_MODELS}")
