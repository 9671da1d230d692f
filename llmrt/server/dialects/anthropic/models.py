"""The models of a server as Anthropic describes models."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import UNSET

from llmrt.errors import RequestError
from llmrt.server.dialects.anthropic.body import PageQuery
from llmrt.server.dialects.anthropic.records import ModelInfo, ModelPage
from llmrt.server.responses import Model


def model_info(model: Model) -> ModelInfo:
    """One model."""
    created = datetime.fromtimestamp(model.created, UTC).isoformat().replace("+00:00", "Z")
    length = None if model.max_model_len is UNSET else model.max_model_len
    return ModelInfo(model.id, display_name=model.id, created_at=created, max_input_tokens=length)


def model_page(models: Sequence[Model], query: PageQuery) -> ModelPage:
    """Those that ``query`` asks for. Raises ``RequestError`` for an id that no model has."""
    ids = [model.id for model in models]
    start = 0 if query.after_id is None else _position(ids, query.after_id, "after_id") + 1
    end = len(ids) if query.before_id is None else _position(ids, query.before_id, "before_id")
    asked = models[start:end]
    page = asked[-query.limit :] if query.before_id is not None else asked[: query.limit]
    first, last = (page[0].id, page[-1].id) if page else (None, None)
    return ModelPage([model_info(model) for model in page], first, last, has_more=len(page) < len(asked))


def _position(ids: Sequence[str], model_id: str, param: str) -> int:
    if model_id not in ids:
        raise RequestError(f"{param} is {model_id!r}; no model has this id.", param=param)
    return ids.index(model_id)
