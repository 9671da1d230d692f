"""The vectors of texts, from the same engine that answers."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import aclosing

import numpy as np

from llmrt.engine.messages import Submit
from llmrt.engine.request import Pooling, SamplingParams
from llmrt.errors import ContextLengthError, RequestError
from llmrt.server.prompt_log import note_prompts
from llmrt.server.sampling import check_ids
from llmrt.server.state import ServerState
from llmrt.text.truncation import Truncation

_MOST_VECTORS = 8192  # of a response, which is made in memory; OpenAI's limit is 2048
_SIDE_BY_SIDE = 64  # texts of one request that the engine's queue holds, at most

Vector = np.ndarray[tuple[int], np.dtype[np.float32]]


def check_vectors(state: ServerState, dimensions: int | None, count: int) -> None:
    """Raise ``RequestError`` for vectors of another size than the model's own, or more than a response may have."""
    if count > _MOST_VECTORS:
        raise RequestError(f"input has {count} texts; a request may have {_MOST_VECTORS}.", param="input")
    size = state.engine.info.embedding_size
    if dimensions not in (None, size):
        message = f"dimensions is {dimensions}; this model's vectors have {size} numbers."
        raise RequestError(message, param="dimensions")


def encode_texts(
    state: ServerState,
    inputs: Sequence[str | list[int]],
    *,
    add_special_tokens: bool = True,
    truncation: Truncation | None = None,
) -> list[list[int]]:
    """The tokens of each text. Raises ``RequestError`` for one that is empty or, after ``truncation``, too long."""
    texts = [_encode(state, text, add_special_tokens, truncation) for text in inputs]
    for index, token_ids in enumerate(texts):
        if not token_ids:
            raise RequestError(f"input[{index}] is empty: it has no tokens.", param="input")
        if len(token_ids) > state.engine.info.context_length:
            raise ContextLengthError(len(token_ids), state.engine.info.context_length, param="input")
    return texts


def _encode(
    state: ServerState, text: str | list[int], add_special_tokens: bool, truncation: Truncation | None
) -> list[int]:
    tokenizer = state.model.tokenizer
    if not isinstance(text, str):
        check_ids(text, state.engine.info.vocab_size, "input")
        return text if truncation is None else truncation.of_ids(text)
    if truncation is None:
        return tokenizer.encode(text, add_special_tokens=add_special_tokens)
    return truncation.of_text(tokenizer, text, add_special_tokens=add_special_tokens)


def admit_texts(state: ServerState, texts: Sequence[list[int]]) -> None:
    """Raise ``OverloadedError`` when the engine's queue has no room for them; note them for the log."""
    state.admit(min(len(texts), _side_by_side(state)))
    note_prompts(state, texts)


async def embed_texts(
    state: ServerState, texts: Sequence[list[int]], pooling: Pooling, *, normalize: bool
) -> list[Vector]:
    """A vector for each text. Raises ``RequestError`` where the engine refuses one, ``LlmrtError`` where it fails."""
    name = f"embd-{uuid.uuid4().hex}"
    params, adapter = SamplingParams(), state.adapter
    submits = [Submit(f"{name}-{i}", text, params, pooling, adapter) for i, text in enumerate(texts)]
    vectors: dict[str, Vector] = {}
    size = _side_by_side(state)
    for start in range(0, len(submits), size):
        some = submits[start : start + size]
        async with aclosing(state.engine.generate(some)) as outputs:
            async for output in outputs:
                if output.embedding is None:
                    raise output.failure(param="input")
                vectors[output.request_id] = np.frombuffer(output.embedding, "<f4")
    raw = [vectors[submit.request_id] for submit in submits]
    return [_unit(vector) for vector in raw] if normalize else raw


def _side_by_side(state: ServerState) -> int:
    """However many texts there are, they take a part of the queue alone."""
    return min(_SIDE_BY_SIDE, max(1, state.settings.max_open_requests // 2))


def _unit(vector: Vector) -> Vector:
    """The vector at length 1; one of zeros stays as it is."""
    return vector / max(float(np.linalg.norm(vector)), np.finfo(np.float32).tiny)
