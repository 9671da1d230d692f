"""``POST /v1/completions``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from llmrt.server.body import json_body
from llmrt.server.dependencies import State
from llmrt.server.framing import ServerSentEvents
from llmrt.server.schemas import CompletionBody
from llmrt.server.stream import RecordStream, until_disconnect
from llmrt.server.text_completion import admit_completion, completion_chunks, whole_completion

router = APIRouter()


@router.post("/v1/completions")
async def completions(
    request: Request, state: State, body: Annotated[CompletionBody, Depends(json_body(CompletionBody))]
) -> Response:
    """Continue one text or several, as a whole or as a stream."""
    texts = await admit_completion(state, body)
    if body.stream:
        chunks, seconds = completion_chunks(texts), state.settings.ping_seconds
        return RecordStream(chunks, ServerSentEvents(), texts.reply.headers, ping_seconds=seconds)
    return await until_disconnect(request, whole_completion(texts), texts.reply.headers)
