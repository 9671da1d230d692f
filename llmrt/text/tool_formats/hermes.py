"""Hermes' form, which Qwen's models share: each call is a JSON object between tags.

<tool_call>
{"name": "f", "arguments": {"x": 1}}
</tool_call>
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from llmrt.text.answer_parts import Parse, Source, no_marker, taken_prefix, text_until
from llmrt.text.tool_formats.call_object import call_object
from llmrt.text.tool_formats.tool_format import Spell, ToolFormat, any_of, call_head, literal

_BEGIN, _END = "<tool_call>", "</tool_call>"

# For templates that know nothing of tools. Hermes' models were trained on these words, and Qwen's on nearly the same.
_INSTRUCTIONS = """\
# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{signatures}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""


class HermesFormat(ToolFormat):
    """See ``ToolFormat``."""

    begin: str | None = _BEGIN
    marks: tuple[str, ...] = (_BEGIN, _END)
    separator: str | None = "\n"

    def parse(self, source: Source, names: Collection[str]) -> Parse[None]:
        """See ``ToolFormat.parse``; a tag around something that is no call is text."""
        while mark := (yield from text_until(source, [_BEGIN])):
            if (yield from call_object(source)):
                yield from _closing_tag(source)
                source.skip_space()
            else:
                yield no_marker(source, mark)

    def block(self, spell: Spell, rules: Mapping[str, str], *, many: bool) -> str:
        """See ``ToolFormat.block``."""
        calls = [literal("\n" + call_head(name)) + f" {rule}" for name, rule in rules.items()]
        return f'{any_of(calls)} "}}\\n" {spell(_END)}'


def _closing_tag(source: Source) -> Parse[None]:
    """Take the tag, or what the answer's end left of it."""
    if not (yield from taken_prefix(source, _END)) and source.closed and _END.startswith(source.text.strip()):
        source.take(len(source.text))


def instructions(tools: Sequence[Mapping[str, object]]) -> str:
    """What to put into the system message so that a model may call ``tools``."""
    return _INSTRUCTIONS.format(signatures="\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools))


def written_call(name: str, arguments: object) -> str:
    """A call of the past as the model would have written it."""
    return f"{_BEGIN}\n{call_head(name)}{json.dumps(arguments, ensure_ascii=False)}}}\n{_END}"


def written_result(text: str) -> str:
    """A tool's answer as the model was told to expect it."""
    return f"<tool_response>\n{text}\n</tool_response>"
