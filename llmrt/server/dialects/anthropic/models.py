"""The models of a server as Anthropic describes models."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import UNSET

from llmrt.server.dialects.anthropic.records import ModelInfo, ModelPage
from llmrt.server.responses import Model


def model_info(model: Model) -> ModelInfo:
    """One model."""
    created = datetime.fromtimestamp(model.created, UTC).isoformat().replace("+00:00", "Z")
    length = None if model.max_model_len is UNSET else model.max_model_len
    return ModelInfo(model.id, display_name=model.id, created_at=created, max_input_tokens=length)


def model_page(models: Sequence[Model]) -> ModelPage:
    """All of them."""
    ids = [model.id for model in models]
    return ModelPage([model_info(model) for model in models], first_id=ids[0], last_id=ids[-1])
