"""``/api/chat``, ``/api/generate``, ``/api/embed`` and ``/api/embeddings``: what Ollama's API asks of a model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from llmrt.errors import ContextLengthError
from llmrt.server.chat import admit_chat
from llmrt.server.dependencies import AllModels, State
from llmrt.server.dialects.ollama.answer import ChatAnswer, GenerateAnswer, OllamaAnswer, now
from llmrt.server.dialects.ollama.body import (
    FIELDS,
    AnswerBody,
    EmbedBody,
    EmbeddingsBody,
    GenerateBody,
    OllamaChatBody,
    ollama_body,
    seconds_of,
)
from llmrt.server.dialects.ollama.records import (
    ChatRecord,
    EmbeddingRecord,
    EmbedRecord,
    GenerateRecord,
    OllamaMessage,
)
from llmrt.server.dialects.ollama.request import (
    NAMES,
    chat_body,
    prompt_body,
    text_body,
    unused_fields,
    unused_options,
)
from llmrt.server.embedding import admit_texts, check_vectors, embed_texts, encode_texts
from llmrt.server.extra_fields import check_extra_fields, ignored_header
from llmrt.server.json_response import json_response
from llmrt.server.models import Models
from llmrt.server.reply import Reply
from llmrt.server.state import ServerState
from llmrt.server.stream import RecordStream, until_disconnect
from llmrt.server.text_completion import admit_text
from llmrt.text.truncation import Truncation

router = APIRouter()


@router.post("/api/chat")
async def chat(
    request: Request,
    models: AllModels,
    state: State,
    body: Annotated[OllamaChatBody, Depends(ollama_body(OllamaChatBody))],
) -> Response:
    """Answer a conversation, as a stream of lines unless ``stream`` is false."""
    with NAMES.in_errors():
        unused = _check(state, body)
        _keep(models, body)
        if not body.messages:
            return json_response(ChatRecord(message=OllamaMessage(""), **_loaded(state, body)), ignored_header(unused))
        reply = await admit_chat(state, chat_body(state.model, body), unused=unused)
    return await _answer(request, body, reply, ChatAnswer(reply))


@router.post("/api/generate")
async def generate(
    request: Request,
    models: AllModels,
    state: State,
    body: Annotated[GenerateBody, Depends(ollama_body(GenerateBody))],
) -> Response:
    """Answer one message; with ``raw``, ``suffix`` or no chat template, continue a text or fill its gap."""
    with NAMES.in_errors():
        unused = _check(state, body)
        _keep(models, body)
        if not body.prompt and not body.suffix:
            return json_response(GenerateRecord(response="", **_loaded(state, body)), ignored_header(unused))
        if body.raw or body.suffix or state.model.chat is None:
            text = text_body(body)
            reply = await admit_text(state, text, max_tokens=text.max_tokens, unused=unused)
        else:
            reply = await admit_chat(state, prompt_body(state.model, body), unused=unused)
    return await _answer(request, body, reply, GenerateAnswer(reply))


@router.post("/api/embed")
async def embed(
    request: Request, models: AllModels, state: State, body: Annotated[EmbedBody, Depends(ollama_body(EmbedBody))]
) -> Response:
    """The vectors of texts, of length 1."""
    unused = _check_embedding(body)
    _keep(models, body)
    check_vectors(state, body.dimensions, 1 if isinstance(body.input, str) else len(body.input))
    began = time.perf_counter_ns()
    texts, clamped = await asyncio.to_thread(_encode, state, body)
    return await until_disconnect(request, _embedded(state, texts, began), ignored_header(unused) | clamped)


@router.post("/api/embeddings")
async def embeddings(
    request: Request,
    models: AllModels,
    state: State,
    body: Annotated[EmbeddingsBody, Depends(ollama_body(EmbeddingsBody))],
) -> Response:
    """The vector of one text, as the model gives it."""
    unused = _check_embedding(body)
    _keep(models, body)
    return await until_disconnect(request, _embedded_as_is(state, body.prompt), ignored_header(unused))


def _check(state: ServerState, body: AnswerBody) -> list[str]:
    """The fields that have no effect."""
    return [*check_extra_fields(body, FIELDS), *unused_fields(state, body)]


def _check_embedding(body: EmbedBody | EmbeddingsBody) -> list[str]:
    """The same where no option has any."""
    return [*check_extra_fields(body, FIELDS), *unused_options(body.options)]


def _keep(models: Models, body: AnswerBody | EmbedBody | EmbeddingsBody) -> None:
    """Have the model stay for as long as the body says once the answer is out."""
    if body.keep_alive is not None:
        models.keep(body.model, seconds_of(body.keep_alive))


def _encode(state: ServerState, body: EmbedBody) -> tuple[list[list[int]], dict[str, str]]:
    """The tokens of the texts and, where one had to be cut, a header that says to how many."""
    texts, limit = [body.input] if isinstance(body.input, str) else body.input, state.engine.info.context_length
    try:
        return encode_texts(state, texts), {}
    except ContextLengthError:
        if body.truncate is False:
            raise
        return encode_texts(state, texts, truncation=Truncation(limit)), {"x-llmrt-clamped": f"input={limit}"}


async def _embedded(state: ServerState, texts: Sequence[list[int]], began: int) -> EmbedRecord:
    admit_texts(state, texts)
    vectors = await embed_texts(state, texts, "mean", normalize=True)
    return EmbedRecord(
        model=state.model.id,
        embeddings=[vector.tolist() for vector in vectors],
        total_duration=time.perf_counter_ns() - began,
        prompt_eval_count=sum(map(len, texts)),
    )


async def _embedded_as_is(state: ServerState, text: str) -> EmbeddingRecord:
    texts = await asyncio.to_thread(encode_texts, state, [text])
    admit_texts(state, texts)
    (vector,) = await embed_texts(state, texts, "mean", normalize=False)
    return EmbeddingRecord(vector.tolist())


async def _answer(request: Request, body: AnswerBody, reply: Reply, answer: OllamaAnswer) -> Response:
    headers = NAMES.headers(reply.headers)
    if body.stream is False:
        return await until_disconnect(request, answer.whole(), headers)
    return RecordStream(answer.parts(), answer, headers, ping_seconds=reply.state.settings.ping_seconds)


def _loaded(state: ServerState, body: AnswerBody) -> dict[str, Any]:
    """The answer to a request without a prompt, which asks that the model be loaded or, by ``keep_alive`` 0, leave."""
    state.engine.check_ready()
    leaves = body.keep_alive is not None and seconds_of(body.keep_alive) == 0
    reason = "unload" if leaves else "load"
    return {"model": state.model.id, "created_at": now(), "done": True, "done_reason": reason}
