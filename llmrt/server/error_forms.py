"""The body of a failure, in the form of the API that its path belongs to, or that its client speaks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial

from fastapi import FastAPI, Request, Response
from msgspec import UNSET, Struct, UnsetType
from starlette.exceptions import HTTPException
from starlette.types import Scope

from llmrt.errors import LlmrtError
from llmrt.server.dialects.anthropic.client import is_anthropic
from llmrt.server.errors import INVALID_REQUEST, ErrorBody, HttpError, describe
from llmrt.server.exchange import current_exchange
from llmrt.server.json_response import json_response
from llmrt.server.unknown_paths import meant_path

THREAD = "thread"  # a conversation that the server keeps, a field of /v1/messages


class OpenAIError(Struct, frozen=True):
    """``{"error": {"message", "type", "param", "code"}}``."""

    error: ErrorBody


class ThreadDetails(Struct, frozen=True):
    """By these a client knows that it has to send conversations whole."""

    error_code: str = "thread_unsupported_request"


class AnthropicErrorBody(Struct, frozen=True):
    """What Anthropic's clients read out of ``error``."""

    type: str
    message: str
    details: ThreadDetails | UnsetType = UNSET


class AnthropicError(Struct, frozen=True, tag_field="type", tag="error"):
    """``{"type": "error", "error": {"type", "message"}}``."""

    error: AnthropicErrorBody


class OllamaError(Struct, frozen=True):
    """``{"error": "..."}``."""

    error: str


_ANTHROPIC_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def openai_error(error: HttpError) -> OpenAIError:
    """The body of an error response, and the data of an error event in a stream."""
    return OpenAIError(error.body)


def anthropic_error(error: HttpError) -> AnthropicError:
    """The same for ``/v1/messages``, where the status decides the type."""
    kind = _ANTHROPIC_TYPES.get(error.status, INVALID_REQUEST if error.status < 500 else "api_error")
    details = ThreadDetails() if error.body.param == THREAD else UNSET
    return AnthropicError(AnthropicErrorBody(kind, error.body.message, details))


def ollama_error(error: HttpError) -> OllamaError:
    """The same for ``/api/``, and the last line of a stream there."""
    return OllamaError(error.body.message)


_FORMS: Mapping[str, Callable[[HttpError], Struct]] = {"/v1/messages": anthropic_error, "/api/": ollama_error}


def form_of(path: str) -> Callable[[HttpError], Struct]:
    """The form of the API that ``path`` belongs to."""
    return next((form for prefix, form in _FORMS.items() if path.startswith(prefix)), openai_error)


def respond(error: HttpError, scope: Scope) -> Response:
    """The response to a request. Clients of Anthropic's API ask for paths that are not theirs alone."""
    current_exchange().error = error.kind
    form = form_of(scope["path"])
    if form is openai_error and is_anthropic(scope):
        form = anthropic_error
    return json_response(form(error), error.headers, error.status)


def install(app: FastAPI, paths: Collection[str]) -> None:
    """Answer known errors of routes, and the framework's own (unknown path, wrong method), in these forms.

    ``paths`` are those that a request for another one may have meant.
    """
    app.add_exception_handler(LlmrtError, _on_error)
    app.add_exception_handler(HTTPException, partial(_on_http_exception, paths))


async def _on_error(request: Request, error: Exception) -> Response:
    return respond(describe(error), request.scope)


async def _on_http_exception(paths: Collection[str], request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path}"
    match error.status_code:
        case 404:
            meant = meant_path(request.url.path, paths)
            message, code = f"Unknown path: {what}{f'; did you mean {meant}?' if meant else '.'}", "unknown_url"
        case 405:
            takes = (error.headers or {}).get("Allow", "another method")
            message, code = f"Method not allowed: {what}; the path takes {takes}.", "method_not_allowed"
        case _:
            message, code = error.detail, None
    body = ErrorBody(message, INVALID_REQUEST, None, code)
    return respond(HttpError(error.status_code, body, error.headers or {}), request.scope)
