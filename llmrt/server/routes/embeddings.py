"""``POST /v1/embeddings``."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from msgspec import Struct

from llmrt.errors import RequestError
from llmrt.server.body import json_body
from llmrt.server.dependencies import State
from llmrt.server.embedding import Vector, admit_texts, check_vectors, embed_texts, encode_texts
from llmrt.server.extra_fields import check_extra_fields, ignored_header
from llmrt.server.schemas import EmbeddingBody
from llmrt.server.state import ServerState
from llmrt.server.stream import until_disconnect
from llmrt.text.truncation import Truncation

router = APIRouter()


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
    ignored = check_extra_fields(body)
    check_vectors(state, body.dimensions, len(body.input))
    special, truncation = body.add_special_tokens is not False, _truncation(state, body)
    texts = await asyncio.to_thread(encode_texts, state, body.input, add_special_tokens=special, truncation=truncation)
    admit_texts(state, texts)
    return await until_disconnect(request, _embedded(state, body, texts), ignored_header(ignored))


def _truncation(state: ServerState, body: EmbeddingBody) -> Truncation | None:
    """How longer texts are cut. As in vLLM they lose their end, unless ``truncation_side`` says otherwise."""
    asked, context_length = body.truncate_prompt_tokens, state.engine.info.context_length
    if asked is None:
        return None
    if asked != -1 and not 0 < asked <= context_length:
        message = f"truncate_prompt_tokens is {asked}; it must be 1 to {context_length}, or -1 for all of these."
        raise RequestError(message, param="truncate_prompt_tokens")
    return Truncation(context_length if asked == -1 else asked, body.truncation_side or "right")


async def _embedded(state: ServerState, body: EmbeddingBody, texts: Sequence[list[int]]) -> EmbeddingList:
    vectors = await embed_texts(state, texts, body.pooling or "mean", normalize=body.normalize is not False)
    num_tokens = sum(map(len, texts))
    as_text = body.encoding_format == "base64"
    return EmbeddingList(
        model=state.model.id,
        data=[Embedding(i, _base64(vector) if as_text else vector.tolist()) for i, vector in enumerate(vectors)],
        usage=EmbeddingUsage(num_tokens, num_tokens),
    )


def _base64(vector: Vector) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
