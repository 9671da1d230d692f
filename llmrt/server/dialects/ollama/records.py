"""The response bodies of ``/api/``, and the lines of its streams. UNSET fields are left out."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from llmrt.server.responses import ChatTokenLogprob


class OllamaFunction(Struct, frozen=True):
    """What is called."""

    index: int
    name: str
    arguments: dict[str, Any]


class OllamaCall(Struct, frozen=True):
    """A call that the client is asked to make."""

    id: str
    function: OllamaFunction


class OllamaMessage(Struct, frozen=True):
    """What the model says, or more of it."""

    content: str
    thinking: str | UnsetType = UNSET
    tool_calls: list[OllamaCall] | UnsetType = UNSET
    role: Literal["assistant"] = "assistant"


class AnswerRecord(Struct, frozen=True, kw_only=True):
    """A part of an answer or, when it is ``done``, its end: why, how many tokens, and nanoseconds."""

    model: str
    created_at: str
    done: bool
    done_reason: Literal["stop", "length", "load", "unload"] | UnsetType = UNSET
    logprobs: list[ChatTokenLogprob] | UnsetType = UNSET
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    prompt_eval_duration: int | UnsetType = UNSET
    eval_count: int | UnsetType = UNSET
    eval_duration: int | UnsetType = UNSET


class ChatRecord(AnswerRecord, frozen=True, kw_only=True):
    """Of ``/api/chat``."""

    message: OllamaMessage


class GenerateRecord(AnswerRecord, frozen=True, kw_only=True):
    """Of ``/api/generate``."""

    response: str
    thinking: str | UnsetType = UNSET


class EmbedRecord(Struct, frozen=True, kw_only=True):
    """One vector a text, in the order of the texts."""

    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int = 0
    prompt_eval_count: int


class EmbeddingRecord(Struct, frozen=True):
    """The vector of one text."""

    embedding: list[float]


class ModelDetails(Struct, frozen=True):
    """What is known of a model's files."""

    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class ModelRecord(Struct, frozen=True, kw_only=True):
    """A model that can be asked; the fields behind ``details`` are those of one that is loaded."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: ModelDetails
    expires_at: str | UnsetType = UNSET
    context_length: int | UnsetType = UNSET


class ModelRecords(Struct, frozen=True):
    """All models."""

    models: list[ModelRecord]


class ShowRecord(Struct, frozen=True, kw_only=True):
    """A model in detail."""

    modelfile: str
    parameters: str
    template: str
    details: ModelDetails
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str


class Version(Struct, frozen=True):
    """The version of Ollama whose API this is."""

    version: str


class Status(Struct, frozen=True):
    """How far a pull is."""

    status: Literal["success"]
