"""``POST /v1/chat/completions``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from llmrt.server.body import json_body
from llmrt.server.chat import admit_chat, chat_chunks, chat_completion
from llmrt.server.dependencies import State
from llmrt.server.framing import ServerSentEvents
from llmrt.server.schemas import ChatBody
from llmrt.server.stream import RecordStream, until_disconnect

router = APIRouter()


@router.post("/v1/chat/completions")
async def chat_completions(
    request: Request, state: State, body: Annotated[ChatBody, Depends(json_body(ChatBody))]
) -> Response:
    """Answer a conversation, as a whole or as a stream of chunks."""
    reply = await admit_chat(state, body)
    if body.stream:
        chunks, seconds = chat_chunks(reply), state.settings.ping_seconds
        return RecordStream(chunks, ServerSentEvents(), reply.headers, ping_seconds=seconds)
    return await until_disconnect(request, chat_completion(reply), reply.headers)
