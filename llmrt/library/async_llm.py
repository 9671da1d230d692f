"""A model for programs that run on asyncio: the server's own way from fields to records, without HTTP."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from os import PathLike, fspath
from types import TracebackType
from typing import Any, Self

from pydantic_core import from_json

from llmrt.config import ServerSettings
from llmrt.engine.request import Pooling
from llmrt.errors import RequestError
from llmrt.hub.sources import resolve
from llmrt.library.settings import engine_config, errors_name_settings, logger
from llmrt.server.chat import admit_chat, chat_chunks, chat_completion
from llmrt.server.embedding import Vector, admit_texts, embed_texts, encode_texts
from llmrt.server.fields import Body, as_body
from llmrt.server.models import Models
from llmrt.server.reply import Reply
from llmrt.server.responses import ChatChunk, ChatCompletion, Completion
from llmrt.server.schemas import ChatBody, CompletionBody, EmbeddingBody
from llmrt.server.served_model import ModelSpec
from llmrt.server.text_completion import Texts, admit_completion, completion_chunks, whole_completion
from llmrt.text.tokenizer import Tokenizer

Messages = str | Sequence[Mapping[str, Any]]
Prompts = str | list[int] | list[str] | list[list[int]]

_SETTINGS = ServerSettings(max_open_requests=sys.maxsize)  # a program knows how much it asks for


class AsyncLLM:
    """A model whose engine runs in a process of its own. Made by ``load``; belongs to the event loop that made it.

    Requests take the fields of ``POST /v1/chat/completions`` and ``/v1/completions`` as keywords, and are answered by
    the same records. What is asked at the same time is computed side by side.
    """

    _models: Models
    _context_length: int

    def __init__(self, *_: object, **__: object) -> None:
        raise TypeError("AsyncLLM is made by a call that is awaited: llm = await AsyncLLM.load(model, ...)")

    @classmethod
    def _of(cls, models: Models, context_length: int) -> Self:
        made = cls.__new__(cls)
        made._models, made._context_length = models, context_length
        return made

    @classmethod
    async def load(
        cls,
        model: str | PathLike[str],
        *,
        revision: str | None = None,
        adapters: Mapping[str, str | PathLike[str]] | None = None,
        **settings: Any,
    ) -> Self:
        """Load a model: an alias, org/name, a folder or a .gguf file, fetched where it is not here.

        ``adapters`` are folders of LoRA adapters, by the name that a request gives as its ``model``. ``settings``
        are fields of ``EngineConfig``: ``quant="int4"``, ``context_length=8192``, ``device="cuda"``...
        Raises ``LlmrtError`` for a model or a setting that cannot work.
        """
        named = tuple((name, fspath(folder)) for name, folder in (adapters or {}).items())
        config = await asyncio.to_thread(engine_config, adapters=named, **settings)
        artifact = await asyncio.to_thread(resolve, fspath(model), revision=revision, report=logger.info)
        with errors_name_settings():
            models = await Models.start([ModelSpec(artifact, config)], _SETTINGS)
            try:
                ready = await models.first.engine.ready()
            except BaseException:
                await models.close()
                raise
        for notice in ready.notices:
            logger.warning(notice)
        return cls._of(models, ready.context_length)

    @property
    def context_length(self) -> int:
        """The most tokens that a prompt and its answer can have together."""
        return self._context_length

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own."""
        return self._models.first.model.tokenizer

    async def chat(self, messages: Messages, **fields: Any) -> ChatCompletion:
        """Answer a conversation; a text is one message of the user. Raises ``LlmrtError``."""
        _refuse_stream(fields)
        async with self._chat(messages, fields) as reply:
            return await chat_completion(reply)

    async def stream_chat(self, messages: Messages, **fields: Any) -> AsyncGenerator[ChatChunk]:
        """The same in chunks, as they come; closing the generator stops the answer."""
        async with self._chat(messages, {**fields, "stream": True}) as reply, aclosing(chat_chunks(reply)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def complete(self, prompt: Prompts, **fields: Any) -> Completion:
        """Continue a text, token ids, or several of them side by side, as plain text. Raises ``LlmrtError``."""
        _refuse_stream(fields)
        async with self._complete(prompt, fields) as texts:
            return await whole_completion(texts)

    async def stream_complete(self, prompt: Prompts, **fields: Any) -> AsyncGenerator[Completion]:
        """The same in chunks, as they come; closing the generator stops the answer."""
        async with (
            self._complete(prompt, {**fields, "stream": True}) as texts,
            aclosing(completion_chunks(texts)) as chunks,
        ):
            async for chunk in chunks:
                yield chunk

    async def embed(
        self, texts: str | Sequence[str], *, pooling: Pooling = "mean", normalize: bool = True, model: str | None = None
    ) -> list[Vector]:
        """A vector for each text: its final hidden states, the mean of them or the last. Raises ``LlmrtError``."""
        several = _several(texts)
        if several == []:
            return []
        body = as_body(EmbeddingBody, {"input": several, "pooling": pooling, "normalize": normalize, "model": model})
        async with self._models.use(body.model) as state:
            with errors_name_settings():
                token_ids = await asyncio.to_thread(encode_texts, state, body.input)
                admit_texts(state, token_ids)
            return await embed_texts(state, token_ids, body.pooling or "mean", normalize=body.normalize is not False)

    async def close(self) -> None:
        """End the engine and what it is computing."""
        await self._models.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @asynccontextmanager
    async def _chat(self, messages: Messages, fields: Mapping[str, Any]) -> AsyncGenerator[Reply]:
        body = _body(ChatBody, {**fields, "messages": _turns(messages)})
        async with self._models.use(body.model) as state:
            with errors_name_settings():
                reply = await admit_chat(state, body)
            _check(reply)
            yield reply

    @asynccontextmanager
    async def _complete(self, prompt: Prompts, fields: Mapping[str, Any]) -> AsyncGenerator[Texts]:
        body = _body(CompletionBody, {**fields, "prompt": prompt})
        async with self._models.use(body.model) as state:
            with errors_name_settings():
                texts = await admit_completion(state, body)
            _check(texts.reply)
            yield texts


def _body(schema: type[Body], fields: Mapping[str, Any]) -> Body:
    """``fields`` as ``schema``, and of values that a body over HTTP can have. Raises ``RequestError``."""
    body = as_body(schema, fields)
    for name, value in fields.items():
        if isinstance(value, str):
            continue
        try:
            from_json(json.dumps(value))
        except (TypeError, ValueError, RecursionError) as error:
            raise RequestError(f"{name} holds what JSON cannot: {error}.", param=name) from None
    return body


def _turns(messages: object) -> object:
    """A text is one message; what is no sequence of them goes on as it is, to be refused."""
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    return [*messages] if isinstance(messages, Sequence) else messages


def _several(texts: object) -> object:
    """A text is a list of one; what is neither goes on as it is, to be refused."""
    return [texts] if isinstance(texts, str) else [*texts] if isinstance(texts, Iterable) else texts


def _refuse_stream(fields: Mapping[str, Any]) -> None:
    if fields.get("stream"):
        raise RequestError("stream is what stream_chat and stream_complete do; leave it out.", param="stream")


def _check(reply: Reply) -> None:
    """What a header tells over HTTP: fields without effect, errors here, for who wrote them can leave them out."""
    if (ignored := reply.headers.get("x-llmrt-ignored")) is not None:
        raise RequestError(f"These fields have no effect: {ignored}.", param=ignored.partition(",")[0])
    if (clamped := reply.headers.get("x-llmrt-clamped")) is not None:
        logger.warning("The context leaves room for fewer tokens than were asked for: %s.", clamped)
