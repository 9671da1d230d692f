"""Mistral's two forms.

[TOOL_CALLS][{"name": "f", "arguments": {"x": 1}}, {"name": "g", "arguments": {}}]
[TOOL_CALLS]f[ARGS]{"x": 1}[TOOL_CALLS]g[ARGS]{}
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from collections.abc import Collection, Mapping, Sequence

from llmrt.text.answer_parts import CallEnd, CallStart, Parse, Source, no_marker, taken_prefix, text_until
from llmrt.text.messages import Message
from llmrt.text.tool_formats.call_object import arguments, call_object
from llmrt.text.tool_formats.tool_format import Spell, ToolFormat, any_of, call_head, literal

_BEGIN, _ARGS, _CALL_ID = "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"
_NAME = re.compile(r"\s*([^\s\[\]{}\"]+)\s*(?:\[CALL_ID\]\s*\w+\s*)?(?:\[ARGS\])?\s*(?=\{)")
# What cannot become a name with arguments behind it, whatever follows.
_NO_NAME = re.compile(r"\s*(?:[\[{]|[^\s\[{]+\s+[^\s\[{])")
_ID_LENGTH = 9  # the templates refuse another


class MistralFormat(ToolFormat):
    """What the two forms share."""

    begin: str | None = _BEGIN
    marks: tuple[str, ...] = (_BEGIN, _ARGS, _CALL_ID)

    def parse(self, source: Source, names: Collection[str]) -> Parse[None]:
        """See ``ToolFormat.parse``. Both forms are read, whichever the template speaks of."""
        while mark := (yield from text_until(source, [_BEGIN])):
            if bracket := (yield from taken_prefix(source, "[")):
                mark += bracket
                called = yield from _list(source)
            else:
                called = (yield from _named(source)) or (yield from call_object(source))
            if called:
                source.skip_space()
            else:
                yield no_marker(source, mark)

    def call_id(self) -> str:
        """See ``ToolFormat.call_id``."""
        return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(_ID_LENGTH))

    def history(self, messages: Sequence[Message]) -> list[Message]:
        """See ``ToolFormat.history``: the templates refuse the ids of others."""
        return [_with_short_ids(message) for message in messages]


class MistralListFormat(MistralFormat):
    """A JSON list of calls. See ``ToolFormat``."""

    separator: str | None = None

    def block(self, spell: Spell, rules: Mapping[str, str], *, many: bool) -> str:
        """See ``ToolFormat.block``."""
        calls = any_of([f'{literal(call_head(name))} {rule} "}}"' for name, rule in rules.items()])
        more = f'(", " {calls})*' if many else ""
        return f'"[" {calls} {more} "]"'


class MistralNamedFormat(MistralFormat):
    """A mark, a name and the arguments for each call. See ``ToolFormat``."""

    separator: str | None = ""

    def block(self, spell: Spell, rules: Mapping[str, str], *, many: bool) -> str:
        """See ``ToolFormat.block``."""
        return any_of([f"{literal(name)} {spell(_ARGS)} {rule}" for name, rule in rules.items()])


def short_id(call_id: str) -> str:
    """An id that Mistral's templates take, the same for the same ``call_id``."""
    if len(call_id) == _ID_LENGTH and call_id.isalnum() and call_id.isascii():
        return call_id
    return hashlib.sha256(call_id.encode()).hexdigest()[:_ID_LENGTH]


def _with_short_ids(message: Message) -> Message:
    short = dict(message)
    if isinstance(answered := message.get("tool_call_id"), str):
        short["tool_call_id"] = short_id(answered)
    if "tool_calls" in message:
        calls = message["tool_calls"]
        short["tool_calls"] = [
            {**call, "id": short_id(call["id"])} if isinstance(call.get("id"), str) else call for call in calls
        ]
    return short


def _list(source: Source) -> Parse[bool]:
    called = False
    while (yield from call_object(source)):
        called = True
        if not (yield from taken_prefix(source, ",")):
            yield from taken_prefix(source, "]")
            break
    return called


def _named(source: Source) -> Parse[bool]:
    while (head := _NAME.match(source.text)) is None:
        if source.closed or _NO_NAME.match(source.text):
            return False
        yield None
    yield CallStart(head[1])
    source.take(head.end())
    if (yield from arguments(source)):
        yield CallEnd()
    return True
