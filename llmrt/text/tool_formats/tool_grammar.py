"""Answers that call tools, as one Lark grammar (https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmrt.text.reasoning import ReasoningFormat
from llmrt.text.tool_formats.tool_format import Spell, ToolFormat, literal


@dataclass(frozen=True, kw_only=True)
class Thoughts:
    """What may come before the answer. ``begun``: the prompt has the first mark, so the thoughts must end."""

    reasoning: ReasoningFormat
    begun: bool


def tool_grammar(
    tools: ToolFormat, spell: Spell, schemas: Mapping[str, str], *, forced: bool, many: bool, answer: bool
) -> str:
    """Rules for an answer, the first of which is ``body``. ``schemas`` has the JSON schema of each tool's arguments.

    ``forced``: the answer is calls and nothing else. Otherwise it is text in which calls may stand, or, where
    ``answer`` says so, either calls or what the grammar ``answer`` allows.
    """
    rules = {name: f"args_{number}" for number, name in enumerate(schemas)}
    lines = [
        f"body: {_body(tools, spell, forced=forced, many=many, answer=answer)}",
        f"calls: {_calls(tools, spell, many=many)}",
        f"block: {tools.block(spell, rules, many=many)}",
        *(f"{rule}: %json {schemas[name]}" for name, rule in rules.items()),
    ]
    if tools.begin is not None and not _is_token(spell, tools.begin):
        lines.append(f"head[lazy]: TEXT {literal(tools.begin)}")
    return "\n".join(lines)


def whole_grammar(body: str, thoughts: Thoughts | None, spell: Spell) -> str:
    """The grammar whose rule ``body`` is in ``body``, with what the model may think before."""
    lines = ["start: body", body, "TEXT: /(.|\\n)*/"]
    if thoughts is not None:
        begin = "" if thoughts.begun else spell(thoughts.reasoning.begin)
        lines[0] = f"start: thoughts{'' if thoughts.begun else '?'} body"
        end = thoughts.reasoning.end
        lines += [f"thoughts: {begin} thought /\\n{{0,2}}/"]
        lines += [f"thought: TEXT {spell(end)}" if _is_token(spell, end) else f"thought[lazy]: TEXT {literal(end)}"]
    return "\n".join(lines)


def _body(tools: ToolFormat, spell: Spell, *, forced: bool, many: bool, answer: bool) -> str:
    if forced:
        return "calls"
    if answer:
        return "calls | @answer"
    if tools.begin is None:  # text that begins as a call does is one
        mark = "".join(f"{spell(mark)}? " for mark in tools.marks)
        return f"/[ \\t\\r\\n]*([^ \\t\\r\\n{{](.|\\n)*)?/ | {mark}calls"
    times = "*" if many else "?"
    if _is_token(spell, tools.begin):
        return f"TEXT ({spell(tools.begin)} block TEXT){times}"
    return f"(head block){times} TEXT"


def _calls(tools: ToolFormat, spell: Spell, *, many: bool) -> str:
    call = "block" if tools.begin is None else f"{spell(tools.begin)} block"
    if not many or tools.separator is None:
        return call
    separator = literal(tools.separator) if tools.separator else ""
    return f"{call} ({separator} {call})*"


def _is_token(spell: Spell, mark: str) -> bool:
    return spell(mark) != literal(mark)
