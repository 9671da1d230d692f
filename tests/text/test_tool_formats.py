"""Answers with calls, as models write them, divided however they come."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from typing import Any

import pytest

from llmrt.text.answer_format import AnswerFormat
from llmrt.text.answer_parts import Arguments, CallEnd, CallStart, Content, Reasoning
from llmrt.text.reasoning import find_reasoning_format
from llmrt.text.tool_formats.hermes import HermesFormat
from llmrt.text.tool_formats.llama3 import Llama3Format
from llmrt.text.tool_formats.mistral import MistralListFormat, short_id
from llmrt.text.tool_formats.tool_format import ToolFormat

HERMES, LLAMA3, MISTRAL = HermesFormat(), Llama3Format(), MistralListFormat()
THINK = find_reasoning_format("<think></think>")
TRICKY = {
    "a": 'quo"te',
    "b": "back\\slash\\",
    "c": "} ] { [ </tool_call> [TOOL_CALLS]",
    "d": {"e": [1, {"f": "\u2603\n"}]},
}

Call = tuple[str, str, bool]  # name, arguments, whether it is whole


def divided(pieces: Iterable[str], answer: AnswerFormat) -> tuple[str, str, list[Call]]:
    """Thoughts, content and calls; content must lie where its ``start`` says."""
    parser, text = answer.parser(), ""
    content, thoughts, calls = "", "", list[Call]()
    for piece in [*pieces, None]:
        text += piece or ""
        for part in parser.finish() if piece is None else parser.push(piece):
            match part:
                case Content():
                    content += part.text
                    assert text[part.start :].startswith(part.text)
                case Reasoning():
                    thoughts += part.text
                    assert text[part.start :].startswith(part.text)
                case CallStart():
                    calls.append((part.name, "", False))
                case Arguments():
                    calls[-1] = (calls[-1][0], calls[-1][1] + part.text, False)
                case CallEnd():
                    calls[-1] = (*calls[-1][:2], True)
    return thoughts, content, calls


def cut_randomly(text: str, draw: random.Random) -> list[str]:
    cuts = sorted(draw.choices(range(len(text) + 1), k=draw.randrange(len(text) + 2)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def check(tools: ToolFormat | None, text: str, expected: Any, **fields: Any) -> None:
    """The same parts from the whole, from single characters and from random pieces."""
    answer = AnswerFormat(tools=tools, tool_names={"f", "g"}, **fields)
    draw = random.Random(text)
    for pieces in ([text], list(text), *(cut_randomly(text, draw) for _ in range(10))):
        assert divided(pieces, answer) == expected, pieces


def hermes(name: str, arguments: object) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def call(name: str, arguments: object = TRICKY) -> Call:
    return name, json.dumps(arguments), True


@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        ("", "", []),
        ("Hello <tool> < x </tool_call>\n ", "Hello <tool> < x </tool_call>\n ", []),
        (hermes("f", TRICKY), "", [call("f")]),
        (f"\n\n{hermes('f', TRICKY)}\n", "", [call("f")]),
        (f"I look.\n\n{hermes('f', TRICKY)}\n{hermes('g', {})}\nDone. ", "I look.Done. ", [call("f"), call("g", {})]),
        (f"{hermes('f', {})}{hermes('f', {})}", "", [call("f", {})] * 2),
        ('<tool_call>{"name":"f","arguments":{"x":1}}', "", [("f", '{"x":1}', True)]),
        ('<tool_call>{"name":"f","arguments":{"x":1}}\n</tool_c', "", [("f", '{"x":1}', True)]),
        ('<tool_call>{"arguments": {"x": 1}, "name": "f"}</tool_call>', "", [call("f", {"x": 1})]),
        ('<tool_call>{"name": "f"}</tool_call>', "", [call("f", {})]),
        ('<tool_call>{"name": "f", "arguments": null}</tool_call>ok', "ok", [call("f", {})]),
        (
            '<tool_call>{"name": "f", "arguments": "{\\"x\\": \\"\\u2603\\"}"}</tool_call>',
            "",
            [("f", '{"x": "☃"}', True)],
        ),
        ('<tool_call>{"name": "f", "arguments": {"x": 1}, "id": "}7"}</tool_call>', "", [call("f", {"x": 1})]),
        ('<tool_call>{"name": "f", "arguments": {"x": "a b', "", [("f", '{"x": "a b', False)]),
        ('<tool_call>{"name": "f', '<tool_call>{"name": "f', []),
        ("<tool_call> not JSON", "<tool_call> not JSON", []),
        ('<tool_call>{"a": 1}</tool_call>', '<tool_call>{"a": 1}</tool_call>', []),
        ("a <tool_cal", "a <tool_cal", []),
        ("a\n\n<tool_call>\n\nb  <tool_call>", "a\n\n<tool_call>\n\nb  <tool_call>", []),
    ],
)
def test_hermes(text: str, content: str, calls: list[Call]) -> None:
    check(HERMES, text, ("", content, calls))


@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        ("Hello {there}", "Hello {there}", []),
        ('{"name": "f", "parameters": ' + json.dumps(TRICKY) + "}", "", [call("f")]),
        ('<|python_tag|>{"name": "f", "parameters": {}}', "", [call("f", {})]),
        ('\n{"type": "function", "name": "f", "parameters": {"x": 1}}\n', "", [call("f", {"x": 1})]),
        ('{"type": "function", "function": {"name": "g", "parameters": {"x": 1}}}', "", [call("g", {"x": 1})]),
        ('{"name": "f", "parameters": {}}; {"name": "g", "parameters": {}}', "", [call("f", {}), call("g", {})]),
        ('{"name": "h", "parameters": {}}', '{"name": "h", "parameters": {}}', []),
        ('{"city": "Paris", "name": "f"}', '{"city": "Paris", "name": "f"}', []),
        ('{"name": ["f"]}', '{"name": ["f"]}', []),
        ("{}", "{}", []),
        ('Well. <|python_tag|>{"name": "f", "parameters": {}}', "Well.", [call("f", {})]),
        ('<|python_tag|>brave_search.call(query="x")', 'brave_search.call(query="x")', []),
    ],
)
def test_llama3(text: str, content: str, calls: list[Call]) -> None:
    check(LLAMA3, text, ("", content, calls))


@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        ("Hello [TOOL", "Hello [TOOL", []),
        (f'[TOOL_CALLS] [{{"name": "f", "arguments": {json.dumps(TRICKY)}}}]', "", [call("f")]),
        (
            '[TOOL_CALLS][{"name": "f", "arguments": {}}, {"name": "g", "arguments": {}}]',
            "",
            [call("f", {}), call("g", {})],
        ),
        ('[TOOL_CALLS][{"name": "f", "arguments": {}, "id": "abcdefghi"}]', "", [call("f", {})]),
        (f"Yes. [TOOL_CALLS]f[ARGS]{json.dumps(TRICKY)}[TOOL_CALLS]g[ARGS]{{}}", "Yes.", [call("f"), call("g", {})]),
        ('[TOOL_CALLS]f[CALL_ID]abcdefghi[ARGS]{"x": 1}', "", [call("f", {"x": 1})]),
        ('[TOOL_CALLS]f{"x": 1}', "", [call("f", {"x": 1})]),
        ('[TOOL_CALLS]f[ARGS]{"x": ', "", [("f", '{"x": ', False)]),
        ("[TOOL_CALLS]these are words", "[TOOL_CALLS]these are words", []),
        ("[TOOL_CALLS]", "[TOOL_CALLS]", []),
        ("[TOOL_CALLS][1, 2]", "[TOOL_CALLS][1, 2]", []),
        ("a [TOOL_CALLS] [ 1, 2]", "a [TOOL_CALLS] [ 1, 2]", []),
    ],
)
def test_mistral(text: str, content: str, calls: list[Call]) -> None:
    check(MISTRAL, text, ("", content, calls))


@pytest.mark.parametrize(
    ("text", "begun", "thoughts", "content"),
    [
        ("<think>\nHm.\n</think>\n\nYes. ", False, "Hm.", "Yes. "),
        ("Hm.\n</think>\n\nYes.", True, "Hm.", "Yes."),
        ("\n<think></think>\nYes.", False, "", "Yes."),
        ("No thought. <think>x</think>", False, "", "No thought. <think>x</think>"),
        ("<thin ice", False, "", "<thin ice"),
        ("<think>\nHm. It goes on </thi", False, "Hm. It goes on </thi", ""),
        ("<think>a</think>b</think>c", False, "a", "b</think>c"),
        ("", True, "", ""),
    ],
)
def test_thoughts(text: str, begun: bool, thoughts: str, content: str) -> None:
    for tools in (None, HERMES, LLAMA3, MISTRAL):
        check(tools, text, (thoughts, content, []), reasoning=THINK, reasoning_begun=begun)


def test_thoughts_before_a_call() -> None:
    text = f"<think>\nIs it <tool_call>?\n</think>\n\n{hermes('f', {})}"
    check(HERMES, text, ("Is it <tool_call>?", "", [call("f", {})]), reasoning=THINK)
    check(
        LLAMA3,
        'Hm.</think>\n{"name": "f", "parameters": {}}',
        ("Hm.", "", [call("f", {})]),
        reasoning=THINK,
        reasoning_begun=True,
    )


def test_arguments_are_given_out_while_they_come() -> None:
    for tools, head in (
        (HERMES, '<tool_call>\n{"name": "f", "arguments": '),
        (LLAMA3, '{"name": "f", "parameters": '),
        (MISTRAL, '[TOOL_CALLS][{"name": "f", "arguments": '),
        (MISTRAL, "[TOOL_CALLS]f[ARGS]"),
    ):
        parser = AnswerFormat(tools=tools, tool_names={"f"}).parser()
        assert parser.push(head) == []
        assert parser.push("{") == [CallStart("f"), Arguments("{")]
        for piece in ('"x": "', "abc", '"}'):
            assert parser.push(piece)[0] == Arguments(piece)


def test_text_is_not_withheld_longer_than_needed() -> None:
    parser = AnswerFormat(tools=HERMES).parser()
    assert [[part.text for part in parser.push(piece)] for piece in ("a", " ", "b<", "c")] == [
        ["a"],
        [],
        [" b"],
        ["<c"],
    ]


def test_ids_of_mistrals_templates() -> None:
    assert short_id("abcDEF123") == "abcDEF123"
    long = short_id("call_0123456789abcdef")
    assert len(long) == 9 and long.isalnum() and long != short_id("call_0123456789abcdee")
    made = {MISTRAL.call_id() for _ in range(100)}
    assert len(made) == 100 and all(short_id(call_id) == call_id for call_id in made)
    assert len({HERMES.call_id() for _ in range(100)}) == 100
