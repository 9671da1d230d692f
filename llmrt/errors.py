"""Errors that a user, a client or a file can cause.

Each message is one line that names the flag, field, file or tensor to change. The CLI prints it and exits
with status 1; the server answers it as an OpenAI error body. Our own broken invariants are ``assert``.
"""

from __future__ import annotations

import unicodedata

_LONGEST = 2000  # characters of a message, which may quote a value of any length


class LlmrtError(Exception):
    """Base of everything that is not a bug in llmrt.

    What a message quotes comes from files and clients: it is shown on one line of printable characters, and of a long
    one the middle is left out.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_one_line(message))


def _one_line(message: str) -> str:
    if len(message) > _LONGEST:
        message = message[:_LONGEST] + message[-_LONGEST:]  # more would not be shown
    if not message.isprintable():
        message = "".join(map(_printable, message))
    if len(message) <= _LONGEST:
        return message
    half = _LONGEST // 2 - 3  # with the dots between still of that length
    return f"{message[:half]} ... {message[-half:]}"


def _printable(c: str) -> str:
    if c.isprintable() or unicodedata.category(c) == "Zs":  # a space of any width stays: a path may have it
        return c
    return " " if c.isspace() else c.encode("unicode_escape").decode()


class ConfigError(LlmrtError):
    """A flag, an environment variable or a configuration file holds a value that cannot work."""


class ModelNotFoundError(LlmrtError):
    """No folder, file, alias or repository has the name that was asked for."""


class DownloadError(LlmrtError):
    """A model could not be fetched: network, licence, disk or checksum."""


class CheckpointError(LlmrtError):
    """A model's file is missing, truncated, inconsistent or of a kind that is not supported."""


class TokenizerError(LlmrtError):
    """A model's vocabulary is missing or cannot be read."""


class TemplateError(LlmrtError):
    """A chat template cannot be parsed, or refuses the conversation it was given."""


class MemoryFitError(LlmrtError):
    """The machine has less memory than the model needs; the message has both numbers and the flag that helps."""


class UnavailableError(LlmrtError):
    """The request cannot be answered now, but a later one may be: in about ``retry_after`` seconds."""

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class EngineDeadError(UnavailableError):
    """The engine process ended; the request was not answered in full."""


class EngineLoadingError(UnavailableError):
    """The engine process has not loaded its model yet, or loads it again."""


class OverloadedError(UnavailableError):
    """As many requests wait for the engine as the server lets wait."""


class DeadlineError(LlmrtError):
    """An answer took longer than the server lets answers take."""


class SlowClientError(LlmrtError):
    """A client sends its request, or reads its answer, too slowly."""


class BodyTooLargeError(LlmrtError):
    """A request's body is larger than the server takes."""


class AccessError(LlmrtError):
    """A client may not do what it asks for."""


class ApiKeyError(AccessError):
    """A request has no API key, or one that is not the server's."""


class AdminError(AccessError):
    """What a client asks for is for who has the admin key."""


class ForeignPageError(AccessError):
    """A web page of another site sends a request to a server that asks for no key."""


class RequestError(LlmrtError):
    """A request holds a value that cannot be served.

    ``param`` is the request field at fault and ``code`` the machine-readable reason, as in OpenAI's errors.
    """

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class ContextLengthError(RequestError):
    """The prompt alone is longer than the context of the engine."""

    def __init__(self, num_tokens: int, context_length: int, *, param: str = "messages") -> None:
        super().__init__(
            f"This model's maximum context length is {context_length} tokens, "
            f"but the prompt resulted in {num_tokens} tokens. Shorten the prompt or use a larger --ctx.",
            param=param,
            code="context_length_exceeded",
        )
        self.num_tokens = num_tokens
        self.context_length = context_length
