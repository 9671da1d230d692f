"""What the routes share: the served model's text side, the engine, and the settings."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, FastAPI, Request

from llmrt import __version__
from llmrt.config import EngineConfig, ServerSettings
from llmrt.errors import OverloadedError, RequestError
from llmrt.hub.artifact import ModelArtifact
from llmrt.server.engine_client import EngineClient
from llmrt.text.chat_format import ChatFormat, chat_format, special_marks
from llmrt.text.chat_template import load_chat_template
from llmrt.text.generation_defaults import GenerationDefaults, load_generation_defaults
from llmrt.text.tokenizer import Tokenizer, load_tokenizer


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """The text side of a model: its names, tokenizer, chat format (base models have none) and defaults.

    ``marks`` are the special tokens around calls and thoughts.
    """

    id: str
    other_names: frozenset[str]
    created: int
    fingerprint: str
    tokenizer: Tokenizer
    chat: ChatFormat | None
    marks: Mapping[str, int]
    defaults: GenerationDefaults

    def check_name(self, name: str | None) -> None:
        """Raise ``RequestError`` unless ``name`` is this model's or was not sent."""
        if name is not None and name != self.id and name not in self.other_names:
            raise RequestError(
                f"The model {name!r} is not served here; this server has {self.id!r}.",
                param="model",
                code="model_not_found",
            )


@dataclass(frozen=True)
class ServerState:
    """Everything that a route needs."""

    engine: EngineClient
    model: ServedModel
    settings: ServerSettings

    def admit(self, num_requests: int) -> None:
        """Raise ``OverloadedError`` when the engine's queue has no room for ``num_requests`` more."""
        limit = self.settings.max_open_requests
        if num_requests > limit:
            raise RequestError(f"This is {num_requests} answers; the server's queue holds {limit}.", param="n")
        if self.engine.num_open + num_requests > limit:
            raise OverloadedError(f"The server's queue of {limit} requests is full; try again in a moment.")


def load_served_model(artifact: ModelArtifact, config: EngineConfig, name: str | None = None) -> ServedModel:
    """Read a model's tokenizer, chat template and defaults; ``name`` is the id that clients see."""
    path = artifact.path.resolve()
    tokenizer = load_tokenizer(artifact.path)
    template = load_chat_template(artifact.path)
    chat = None if template is None else chat_format(template)
    base = path.stem if path.suffix == ".gguf" else path.name
    is_path = artifact.source in ("folder", "file")
    return ServedModel(
        id=name or (base if is_path else artifact.name),
        other_names=frozenset({artifact.name, base, path.name}),
        created=int(time.time()),
        fingerprint=_fingerprint(artifact, config),
        tokenizer=tokenizer,
        chat=chat,
        marks={} if chat is None else special_marks(tokenizer, chat.marks),
        defaults=load_generation_defaults(artifact.path),
    )


def set_state(app: FastAPI, state: ServerState) -> None:
    """Give ``state`` to the routes of ``app``."""
    app.state.llmrt = state


def _get_state(request: Request) -> ServerState:
    state = request.app.state.llmrt
    assert isinstance(state, ServerState)
    return state


State = Annotated[ServerState, Depends(_get_state)]


def _fingerprint(artifact: ModelArtifact, config: EngineConfig) -> str:
    """Equal for equal weights and settings: answers with the same seed can differ only where this does."""
    identity = repr((__version__, artifact.source, artifact.detail, str(artifact.path), config))
    return f"fp_{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
