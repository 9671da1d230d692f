"""``POST /v1/embeddings``: the vectors of texts, from the same engine that answers."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Annotated, Literal

import msgspec
import numpy as np
from fastapi import APIRouter, Depends, Request, Response
from msgspec import Struct
from pydantic import BaseModel, ConfigDict

from llmrt.engine.messages import Submit
from llmrt.engine.request import Pooling, SamplingParams
from llmrt.errors import ContextLengthError, RequestError
from llmrt.server.body import json_body
from llmrt.server.dependencies import State
from llmrt.server.extra_fields import check_extra_fields, ignored_header
from llmrt.server.prompt_log import note_prompts
from llmrt.server.sampling import check_ids
from llmrt.server.schemas import Prompts
from llmrt.server.state import ServerState
from llmrt.server.stream import until_disconnect

router = APIRouter()

_SIDE_BY_SIDE = 64  # texts of one request that the engine's queue holds, at most


class EmbeddingBody(BaseModel):
    """``dimensions`` can only be the model's own.

    Beyond OpenAI's fields: ``pooling`` of the final hidden states, "mean" unless "last" is sent, and ``normalize``, by
    which vectors have the length 1 unless it is false.
    """

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    model: str | None = None
    input: Prompts
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    pooling: Pooling | None = None
    normalize: bool | None = None
    add_special_tokens: bool | None = None


class Embedding(Struct, frozen=True):
    """A vector: numbers, or base64 of them as little-endian fp32."""

    index: int
    embedding: list[float] | str
    object: Literal["embedding"] = "embedding"


class EmbeddingUsage(Struct, frozen=True):
    """Tokens of all texts."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Struct, frozen=True):
    """One vector a text, in the order of the texts."""

    model: str
    data: list[Embedding]
    usage: EmbeddingUsage
    object: Literal["list"] = "list"


@router.post("/v1/embeddings")
async def embeddings(
    request: Request, state: State, body: Annotated[EmbeddingBody, Depends(json_body(EmbeddingBody))]
) -> Response:
    """Embed one text or several."""
    engine = state.engine.info
    ignored = check_extra_fields(body)
    if body.dimensions not in (None, engine.embedding_size):
        message = f"dimensions is {body.dimensions}; this model's vectors have {engine.embedding_size} numbers."
        raise RequestError(message, param="dimensions")
    texts = await asyncio.to_thread(_encode, state, body)
    state.admit(min(len(texts), _side_by_side(state)))
    note_prompts(state, texts)
    return await until_disconnect(request, _respond(state, body, texts, ignored_header(ignored)))


def _encode(state: ServerState, body: EmbeddingBody) -> list[list[int]]:
    special = body.add_special_tokens is not False
    texts: list[list[int]] = []
    for text in body.input:
        if isinstance(text, str):
            texts.append(state.model.tokenizer.encode(text, add_special_tokens=special))
        else:
            check_ids(text, state.engine.info.vocab_size, "input")
            texts.append(text)
    for index, token_ids in enumerate(texts):
        if not token_ids:
            raise RequestError(f"input[{index}] is empty: it has no tokens.", param="input")
        if len(token_ids) > state.engine.info.context_length:
            raise ContextLengthError(len(token_ids), state.engine.info.context_length, param="input")
    return texts


async def _respond(
    state: ServerState, body: EmbeddingBody, texts: Sequence[list[int]], headers: Mapping[str, str]
) -> Response:
    vectors = await embed(state, texts, body.pooling or "mean", normalize=body.normalize is not False)
    num_tokens = sum(map(len, texts))
    as_text = body.encoding_format == "base64"
    answer = EmbeddingList(
        model=state.model.id,
        data=[Embedding(i, _base64(vector) if as_text else vector.tolist()) for i, vector in enumerate(vectors)],
        usage=EmbeddingUsage(num_tokens, num_tokens),
    )
    return Response(msgspec.json.encode(answer), headers=headers, media_type="application/json")


Vector = np.ndarray[tuple[int], np.dtype[np.float32]]


async def embed(state: ServerState, texts: Sequence[list[int]], pooling: Pooling, *, normalize: bool) -> list[Vector]:
    """A vector for each text; raises ``RequestError`` for one that the engine refuses."""
    name = f"embd-{uuid.uuid4().hex}"
    submits = [Submit(f"{name}-{i}", text, SamplingParams(), pooling) for i, text in enumerate(texts)]
    vectors: dict[str, Vector] = {}
    size = _side_by_side(state)
    for start in range(0, len(submits), size):
        some = submits[start : start + size]
        async with aclosing(state.engine.generate(some)) as outputs:
            async for output in outputs:
                if output.embedding is None:
                    raise RequestError(output.error or "The engine could not embed this text.", param="input")
                vectors[output.request_id] = np.frombuffer(output.embedding, "<f4")
    raw = [vectors[submit.request_id] for submit in submits]
    return [_unit(vector) for vector in raw] if normalize else raw


def _side_by_side(state: ServerState) -> int:
    """However many texts there are, they take a part of the queue alone."""
    return min(_SIDE_BY_SIDE, max(1, state.settings.max_open_requests // 2))


def _unit(vector: Vector) -> Vector:
    """The vector at length 1; one of zeros stays as it is."""
    return vector / max(float(np.linalg.norm(vector)), np.finfo(np.float32).tiny)


def _base64(vector: Vector) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
