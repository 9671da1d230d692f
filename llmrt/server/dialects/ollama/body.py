"""The request bodies of ``/api/``, and what becomes of fields that are not listed in them."""

from __future__ import annotations

import math
import re
from functools import partial
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from llmrt.engine.request import MAX_LOGPROBS
from llmrt.server.body import json_body
from llmrt.server.extra_fields import FieldPolicy
from llmrt.server.fields import RequestSchema
from llmrt.server.schemas import MAX_TOOLS, StopStrings, ToolSpec

# Ollama reads every body as JSON, and the examples that it gives for curl name no type.
ollama_body = partial(json_body, of_any_type=True)

# The model that was given with ``serve`` makes the prompts, from text alone.
FIELDS = FieldPolicy(harmless=(), unsupported={"context": ([],), "images": ([],), "template": ("",)}, instead={})
OPTIONS = FieldPolicy(harmless=(), unsupported={"mirostat": (0,), "tfs_z": (1,), "typical_p": (1,)}, instead={})

_PART = r"(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)?"
_DURATION = re.compile(rf"[-+]?(?:{_PART})+")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


def _duration(value: int | float | str) -> int | float | str:
    if isinstance(value, str) and not _DURATION.fullmatch(value):
        raise ValueError("must be a number of seconds or a duration such as '5m'")
    return value


def seconds_of(duration: int | float | str) -> float:
    """``keep_alive`` in seconds; infinity for what is below 0."""
    if isinstance(duration, str):
        size = sum(float(number) * _SECONDS[unit] for number, unit in re.findall(_PART, duration))
        duration = -size if duration.startswith("-") else size
    return math.inf if duration < 0 else float(duration)


class Options(RequestSchema):
    """``num_predict`` -1 and -2 are no limit; ``num_ctx`` has no effect: the context is the server's."""

    num_predict: int | None = None
    num_ctx: int | None = None
    temperature: float | None = None
    top_k: int | None = Field(default=None, ge=0)
    top_p: float | None = None
    min_p: float | None = None
    seed: int | None = None
    stop: StopStrings = ()
    repeat_penalty: float | None = None
    repeat_last_n: int | None = Field(default=None, ge=-1)
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


class ModelBody(RequestSchema):
    """``POST /api/show``: a model under its name, or under the field's older one."""

    model: str | None = None
    name: str | None = None


class PullBody(ModelBody):
    """``POST /api/pull``. Ollama streams unless ``stream`` is false."""

    stream: bool | None = None


class _Body(RequestSchema):
    model: str | None = None
    options: Options = Field(default_factory=Options)
    keep_alive: Annotated[int | float | str, AfterValidator(_duration)] | None = None


class AnswerBody(_Body):
    """What chats and texts share. Answers stream unless ``stream`` is false; ``format`` is "json" or a schema."""

    stream: bool | None = None
    format: str | dict[str, Any] | None = None
    think: bool | str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MAX_LOGPROBS)


class OllamaChatBody(AnswerBody):
    """``POST /api/chat``. Without messages it asks whether the model is loaded."""

    messages: list[dict[str, Any]] | None = None
    tools: list[ToolSpec] | None = Field(None, max_length=MAX_TOOLS)


class GenerateBody(AnswerBody):
    """``POST /api/generate``: one message for the model or, if ``raw``, a text that it continues.

    With ``suffix`` a model for code fills the gap between the two texts.
    """

    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    raw: bool | None = None


class EmbedBody(_Body):
    """``POST /api/embed``. Texts that are too long lose their end, or are refused if ``truncate`` is false."""

    input: str | list[str]
    truncate: bool | None = None
    dimensions: int | None = None


class EmbeddingsBody(_Body):
    """``POST /api/embeddings``, the older form: one text, and a vector of any length."""

    prompt: str
