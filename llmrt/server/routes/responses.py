"""``POST /v1/responses``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from llmrt.server.body import json_body
from llmrt.server.chat import admit_chat
from llmrt.server.dependencies import State
from llmrt.server.dialects.responses.answer import whole_response
from llmrt.server.dialects.responses.body import FIELDS, ResponsesBody
from llmrt.server.dialects.responses.request import chat_body, field_names, unused_fields
from llmrt.server.dialects.responses.stream import ResponseStream
from llmrt.server.extra_fields import check_extra_fields
from llmrt.server.stream import RecordStream, until_disconnect

router = APIRouter()


@router.post("/v1/responses")
async def responses(
    request: Request, state: State, body: Annotated[ResponsesBody, Depends(json_body(ResponsesBody))]
) -> Response:
    """Answer a conversation in the form of the Responses API, as a whole or as a stream of events."""
    unused = [*check_extra_fields(body, FIELDS), *unused_fields(body)]
    names = field_names(body)
    with names.in_errors():
        reply = await admit_chat(state, chat_body(body), id_prefix="resp_", unused=unused)
    headers = names.headers(reply.headers)
    if body.stream:
        stream = ResponseStream(body, reply)
        return RecordStream(stream.events(), stream, headers, ping_seconds=state.settings.ping_seconds)
    return await until_disconnect(request, whole_response(body, reply), headers)
