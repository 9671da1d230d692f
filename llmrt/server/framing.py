"""How the records of a stream become bytes."""

from __future__ import annotations

from typing import Protocol, TypeVar

import msgspec
from msgspec import Struct

from llmrt.server.error_forms import openai_error
from llmrt.server.errors import HttpError

RecordT_contra = TypeVar("RecordT_contra", bound=Struct, contravariant=True)

PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"
# Legal in JSON, but many clients split an event's lines there.
_LINE_BREAKS = (("\u2028".encode(), b"\\u2028"), ("\u2029".encode(), b"\\u2029"), ("\u0085".encode(), b"\\u0085"))


class Framing(Protocol[RecordT_contra]):
    """``end`` comes behind the last record of a stream that did not fail."""

    media_type: str
    end: bytes

    def record(self, record: RecordT_contra) -> bytes:
        """One record."""
        ...

    def idle(self) -> bytes:
        """What keeps the connection alive while no record comes."""
        ...

    def failure(self, error: HttpError) -> bytes:
        """The last of a stream that failed."""
        ...


class ServerSentEvents:
    """OpenAI's: each record an event without a name."""

    media_type = "text/event-stream"
    end = DONE

    def record(self, record: Struct) -> bytes:
        """``data:`` and the record."""
        return event(record)

    def idle(self) -> bytes:
        """A comment."""
        return PING

    def failure(self, error: HttpError) -> bytes:
        """An event with an error in it."""
        return event(openai_error(error))


def event(record: Struct, name: str | None = None) -> bytes:
    """One event with ``record`` as JSON."""
    head = b"" if name is None else f"event: {name}\n".encode()
    return head + b"data: " + on_one_line(msgspec.json.encode(record)) + b"\n\n"


def named_event(record: Struct) -> bytes:
    """An event whose name is the record's tag."""
    tag = record.__struct_config__.tag
    assert isinstance(tag, str)
    return event(record, tag)


def on_one_line(content: bytes) -> bytes:
    """JSON without the characters that clients may take for the end of a line."""
    if content.isascii():
        return content
    for character, escape in _LINE_BREAKS:
        content = content.replace(character, escape)
    return content
