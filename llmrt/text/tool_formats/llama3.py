"""Llama 3's form: an answer that calls is a JSON object, which a mark may precede.

    <|python_tag|>{"name": "f", "parameters": {"x": 1}}

One call an answer; models that write several anyway put ";" between them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from llmrt.text.answer_parts import Parse, Source, taken_prefix, text_until
from llmrt.text.tool_formats.call_object import call_object
from llmrt.text.tool_formats.tool_format import Spell, any_of, literal, long_call_id

_MARK = "<|python_tag|>"


class Llama3Format:
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
        calls = [f"{literal(_call_head(name))} {rule}" for name, rule in rules.items()]
        return f'{any_of(calls)} "}}"'

    def call_id(self) -> str:
        """See ``ToolFormat.call_id``."""
        return long_call_id()


def _calls(source: Source, names: Collection[str]) -> Parse[None]:
    yield from taken_prefix(source, _MARK)
    while (yield from call_object(source, names)):
        source.skip_space()
        yield from taken_prefix(source, ";")
        yield from taken_prefix(source, _MARK)


def _call_head(name: str) -> str:
    return f'{{"name": {json.dumps(name)}, "parameters": '
