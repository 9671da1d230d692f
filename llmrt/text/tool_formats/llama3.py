"""Llama 3's form: an answer that calls is a JSON object, which a mark may precede.

    <|python_tag|>{"name": "f", "parameters": {"x": 1}}

One call an answer; models that write several anyway put ";" between them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from llmrt.text.answer_parts import Parse, Source, taken_prefix, text_until
from llmrt.text.messages import Message
from llmrt.text.tool_formats.call_object import call_object
from llmrt.text.tool_formats.tool_format import Spell, ToolFormat, any_of, call_head, literal

_MARK = "<|python_tag|>"


class Llama3Format(ToolFormat):
    """See ``ToolFormat``."""

    begin: str | None = None
    marks: tuple[str, ...] = (_MARK,)
    separator: str | None = None

    def parse(self, source: Source, names: Collection[str]) -> Parse[None]:
        """See ``ToolFormat.parse``. An object that calls no tool that there is, is an answer in JSON."""
        yield from _calls(source, names)
        while (yield from text_until(source, [_MARK])):
            yield from _calls(source, names)

    def block(self, spell: Spell, rules: Mapping[str, str], *, many: bool) -> str:
        """See ``ToolFormat.block``."""
        calls = [f"{literal(call_head(name, 'parameters'))} {rule}" for name, rule in rules.items()]
        return f'{any_of(calls)} "}}"'

    def history(self, messages: Sequence[Message]) -> list[Message]:
        """See ``ToolFormat.history``: several calls are several messages, each with its result behind it."""
        ordered: list[Message] = []
        rest = list(messages)
        while rest:
            message = rest.pop(0)
            calls = message.get("tool_calls", [])
            if len(calls) < 2:
                ordered.append(message)
                continue
            for number, call in enumerate(calls):
                ordered.append({**message, "content": message["content"] if number == 0 else "", "tool_calls": [call]})
                ordered += _take_result(rest, call.get("id"))
        return ordered


def _calls(source: Source, names: Collection[str]) -> Parse[None]:
    yield from taken_prefix(source, _MARK)
    while (yield from call_object(source, names)):
        source.skip_space()
        yield from taken_prefix(source, ";")
        yield from taken_prefix(source, _MARK)


def _take_result(messages: list[Message], call_id: object) -> Iterator[Message]:
    """Remove and give the result of a call from those at the start of ``messages``."""
    for index, message in enumerate(messages):
        if message["role"] != "tool":
            return
        if message.get("tool_call_id") == call_id:
            yield messages.pop(index)
            return
