"""``/openapi.json``: every route of the API with the bodies that it reads and writes, from the types that it uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from msgspec import Struct
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from llmrt import __version__
from llmrt.server.dependencies import ModelQuery
from llmrt.server.dialects.anthropic.body import CountBody, MessagesBody, PageQuery
from llmrt.server.dialects.anthropic.records import AnthropicMessage, MessageEvent, TokenCount
from llmrt.server.dialects.ollama.body import (
    EmbedBody,
    EmbeddingsBody,
    GenerateBody,
    ModelBody,
    OllamaChatBody,
    PullBody,
)
from llmrt.server.dialects.ollama.records import (
    ChatRecord,
    EmbeddingRecord,
    EmbedRecord,
    GenerateRecord,
    ModelRecords,
    ShowRecord,
    Status,
    Version,
)
from llmrt.server.dialects.responses.body import ResponsesBody
from llmrt.server.dialects.responses.records import ResponseObject, ResponseStreamEvent
from llmrt.server.error_forms import form_of
from llmrt.server.responses import ChatChunk, ChatCompletion, Completion, Model, ModelList
from llmrt.server.routes.adapters import AdapterChange, LoadBody, UnloadBody
from llmrt.server.routes.embeddings import EmbeddingBody, EmbeddingList
from llmrt.server.routes.tokens import DetokenizeBody, Detokenized, Rendered, TokenizeBody, Tokenized, TokenizerInfo
from llmrt.server.schemas import ChatBody, CompletionBody

_JSON = "application/json"
_EVENTS = "text/event-stream"
_LINES = "application/x-ndjson"
_REFERENCE = "#/components/schemas/{}"


@dataclass(frozen=True)
class _Bodies:
    """``part`` is the type of what a stream has in each event or line, if the route can stream."""

    answer: type[Struct]
    body: type[BaseModel] | None = None
    part: object = None
    stream_type: str = _EVENTS
    query: type[BaseModel] | None = None


_BODIES: Mapping[str, _Bodies] = {
    "/v1/chat/completions": _Bodies(ChatCompletion, ChatBody, ChatChunk),
    "/v1/completions": _Bodies(Completion, CompletionBody, Completion),
    "/v1/embeddings": _Bodies(EmbeddingList, EmbeddingBody),
    "/v1/load_lora_adapter": _Bodies(AdapterChange, LoadBody),
    "/v1/unload_lora_adapter": _Bodies(AdapterChange, UnloadBody),
    "/v1/models": _Bodies(ModelList, query=PageQuery),
    "/v1/models/{model_id}": _Bodies(Model),
    "/v1/responses": _Bodies(ResponseObject, ResponsesBody, ResponseStreamEvent),
    "/v1/messages": _Bodies(AnthropicMessage, MessagesBody, MessageEvent),
    "/v1/messages/count_tokens": _Bodies(TokenCount, CountBody),
    "/tokenize": _Bodies(Tokenized, TokenizeBody),
    "/detokenize": _Bodies(Detokenized, DetokenizeBody),
    "/apply-template": _Bodies(Rendered, ChatBody),
    "/tokenizer_info": _Bodies(TokenizerInfo, query=ModelQuery),
    "/api/chat": _Bodies(ChatRecord, OllamaChatBody, ChatRecord, _LINES),
    "/api/generate": _Bodies(GenerateRecord, GenerateBody, GenerateRecord, _LINES),
    "/api/embed": _Bodies(EmbedRecord, EmbedBody),
    "/api/embeddings": _Bodies(EmbeddingRecord, EmbeddingsBody),
    "/api/tags": _Bodies(ModelRecords),
    "/api/ps": _Bodies(ModelRecords),
    "/api/show": _Bodies(ShowRecord, ModelBody),
    "/api/pull": _Bodies(Status, PullBody, Status, _LINES),
    "/api/version": _Bodies(Version),
}


class Api(FastAPI):
    """The application, whose description has the real bodies: routes read and write them without the framework."""

    def openapi(self) -> dict[str, Any]:
        """The description, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = _describe(self)
        return self.openapi_schema


def _describe(app: FastAPI) -> dict[str, Any]:
    described = get_openapi(title=app.title, version=__version__, routes=app.routes)
    types = [kind for bodies in _BODIES.values() for kind in (bodies.answer, bodies.part) if kind is not None]
    errors = [_error_type(path) for path in _BODIES]
    shown, components = msgspec.json.schema_components([*types, *errors], ref_template=_REFERENCE.format("{name}"))
    schema_of = dict(zip(map(repr, [*types, *errors]), shown, strict=True))
    requests = [bodies.body for bodies in _BODIES.values() if bodies.body is not None]
    for path, bodies in _BODIES.items():
        for operation in described["paths"][path].values():
            operation.update(_operation(path, bodies, schema_of))
    described["components"] = {
        "schemas": {**_request_schemas(requests), **components},
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        },
    }
    described["security"] = [{}, {"bearer": []}, {"x-api-key": []}]  # a key is needed where the server has some
    return described


def _operation(path: str, bodies: _Bodies, schema_of: Mapping[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {_JSON: {"schema": schema_of[repr(bodies.answer)]}}
    if bodies.part is not None:
        content[bodies.stream_type] = {"schema": _streamed(schema_of[repr(bodies.part)], bodies.stream_type)}
    failed = {"description": "An error", "content": {_JSON: {"schema": schema_of[repr(_error_type(path))]}}}
    answered = {"description": "The answer", "content": content}
    operation: dict[str, Any] = {"responses": {"200": answered, "4XX": failed, "5XX": failed}}
    if bodies.query is not None:
        operation["parameters"] = _parameters(bodies.query)
    if bodies.body is not None:
        schema = {"$ref": _REFERENCE.format(bodies.body.__name__)}
        operation["requestBody"] = {"required": True, "content": {_JSON: {"schema": schema}}}
    return operation


def _parameters(query: type[BaseModel]) -> list[dict[str, Any]]:
    schema = query.model_json_schema()
    return [
        {"name": name, "in": "query", "description": schema["description"], "schema": of}
        for name, of in schema["properties"].items()
    ]


def _streamed(part: Mapping[str, Any], stream_type: str) -> Mapping[str, Any]:
    """A line, or an event with a part as its data."""
    if stream_type == _LINES:
        return part
    data = {"type": "string", "contentMediaType": _JSON, "contentSchema": part}
    return {"type": "object", "properties": {"event": {"type": "string"}, "data": data}}


def _request_schemas(models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    unique: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "validation") for model in dict.fromkeys(models)]
    _, schemas = models_json_schema(unique, ref_template=_REFERENCE.format("{model}"))
    return schemas["$defs"]


def _error_type(path: str) -> type[Struct]:
    return get_type_hints(form_of(path))["return"]
