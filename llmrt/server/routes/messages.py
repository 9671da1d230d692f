"""``POST /v1/messages`` and ``/v1/messages/count_tokens``: Anthropic's API."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from llmrt.errors import ContextLengthError, RequestError
from llmrt.server.body import json_body
from llmrt.server.chat import admit_chat
from llmrt.server.chat_prompt import prompt_token_ids, unknown_variables
from llmrt.server.dependencies import State
from llmrt.server.dialects.anthropic.answer import AnthropicEvents, message_events, whole_message
from llmrt.server.dialects.anthropic.body import FIELDS, CountBody, MessagesBody
from llmrt.server.dialects.anthropic.records import TokenCount
from llmrt.server.dialects.anthropic.request import NAMES, chat_body, unused_fields
from llmrt.server.extra_fields import check_extra_fields, ignored_header
from llmrt.server.json_response import json_response
from llmrt.server.reply import Reply
from llmrt.server.schemas import ChatBody
from llmrt.server.state import ServerState
from llmrt.server.stream import RecordStream, until_disconnect

router = APIRouter()


@router.post("/v1/messages")
async def messages(
    request: Request, state: State, body: Annotated[MessagesBody, Depends(json_body(MessagesBody))]
) -> Response:
    """Answer a conversation in Anthropic's form, as a whole or as a stream of events."""
    unused = [*check_extra_fields(body, FIELDS), *unused_fields(state.model, body)]
    with NAMES.in_errors():
        reply = await _admit(state, chat_body(state.model, body), unused)
    headers = NAMES.headers(reply.headers)
    if body.stream:
        return RecordStream(message_events(reply), AnthropicEvents(), headers, ping_seconds=state.settings.ping_seconds)
    return await until_disconnect(request, whole_message(reply), headers)


@router.post("/v1/messages/count_tokens")
async def count_tokens(state: State, body: Annotated[CountBody, Depends(json_body(CountBody))]) -> Response:
    """The number of tokens that the prompt of such a request has."""
    unused = [*check_extra_fields(body, FIELDS), *unused_fields(state.model, body)]
    with NAMES.in_errors():
        chat = chat_body(state.model, body)
        token_ids = await asyncio.to_thread(prompt_token_ids, state.model, chat)
    headers = NAMES.headers(ignored_header([*unused, *unknown_variables(state.model, chat)]))
    return json_response(TokenCount(len(token_ids)), headers)


async def _admit(state: ServerState, chat: ChatBody, unused: Sequence[str]) -> Reply:
    try:
        return await admit_chat(state, chat, id_prefix="msg_", unused=unused)
    except ContextLengthError as error:  # in the words that clients look for
        message = f"prompt is too long: {error.num_tokens} tokens > {error.context_length} maximum"
        raise RequestError(message, param="messages", code=error.code) from error
