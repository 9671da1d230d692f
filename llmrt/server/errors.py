"""Every failure as a status and what OpenAI's error bodies say of it; ``error_forms`` writes it for every API.

The status decides what the clients do: they raise at once on 4xx, and try 429 and 5xx twice more. So a client's fault
is always 4xx, and a 5xx says whether and when to come back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from llmrt.errors import (
    AdminError,
    ApiKeyError,
    BodyTooLargeError,
    DeadlineError,
    EngineDeadError,
    EngineLoadingError,
    ForeignPageError,
    LlmrtError,
    OverloadedError,
    RequestError,
    SlowClientError,
    TemplateError,
    UnavailableError,
)

INVALID_REQUEST = "invalid_request_error"
_NO_RETRY = {"x-should-retry": "false"}
_UNAVAILABLE: dict[type[UnavailableError], tuple[int, str, str]] = {  # status, type, code
    EngineLoadingError: (503, "service_unavailable", "model_loading"),
    EngineDeadError: (503, "service_unavailable", "engine_dead"),
    OverloadedError: (429, "rate_limit_error", "queue_full"),
}
_REFUSED: dict[type[LlmrtError], tuple[int, str, Mapping[str, str]]] = {  # status, code, headers
    ApiKeyError: (401, "invalid_api_key", {"www-authenticate": "Bearer"}),
    AdminError: (403, "admin_key_required", {}),
    ForeignPageError: (403, "foreign_page", {}),
    BodyTooLargeError: (413, "request_too_large", _NO_RETRY),
    SlowClientError: (408, "client_too_slow", _NO_RETRY),
    DeadlineError: (504, "request_timeout", _NO_RETRY),
}


class ErrorBody(msgspec.Struct, frozen=True):
    """What OpenAI clients read out of ``error``."""

    message: str
    type: str
    param: str | None
    code: str | None


@dataclass(frozen=True)
class HttpError:
    """How a failure is answered."""

    status: int
    body: ErrorBody
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def kind(self) -> str:
        """What the log and the metrics call it by."""
        return self.body.code or self.body.type


def describe(error: Exception) -> HttpError:
    """The answer to ``error``; what is not an ``LlmrtError`` is a bug, of which the client learns no more."""
    match error:
        case RequestError():
            status = 404 if error.code == "model_not_found" else 400
            return HttpError(status, ErrorBody(str(error), INVALID_REQUEST, error.param, error.code))
        case TemplateError():
            return HttpError(400, ErrorBody(str(error), INVALID_REQUEST, "messages", "chat_template_error"))
        case UnavailableError():
            status, kind, code = _UNAVAILABLE[type(error)]
            seconds = error.retry_after
            headers = {"retry-after": str(math.ceil(seconds)), "retry-after-ms": str(math.ceil(1000 * seconds))}
            return HttpError(status, ErrorBody(str(error), kind, None, code), headers)
        case LlmrtError() if type(error) in _REFUSED:
            status, code, headers = _REFUSED[type(error)]
            kind = INVALID_REQUEST if status < 500 else "server_error"
            return HttpError(status, ErrorBody(str(error), kind, None, code), headers)
        case LlmrtError():
            return HttpError(500, ErrorBody(str(error), "server_error", None, None), _NO_RETRY)
        case _:
            message = "The server failed to answer this request; its log says why."
            return HttpError(500, ErrorBody(message, "server_error", None, "internal_error"), _NO_RETRY)
