"""Grammars from regular expressions, choices, Lark and GBNF."""

from __future__ import annotations

import random
import re

import pytest

from benchmarks.structured.walk import byte_walker
from llmrt.errors import RequestError
from llmrt.text.grammar import (
    MAX_CHOICES,
    choice_grammar,
    json_object_grammar,
    json_schema_grammar,
    lark_grammar,
    regex_grammar,
    written_grammar,
)
from llmrt.text.json_schema import schema_text

EXPRESSIONS = [
    r"[a-c]+x?",
    r"\d{2,4}",
    r"[\d.]{2}\\d",
    r"[+\-\d]-\d[^-\D]",
    r"(foo|bar|日本)+",
    r"[^\n]{3}",
    r"a.b",
    r"(?i:yes|no)",
    r"😀*!",
    r"-?[0-9]+(\.[0-9]+)?",
]


@pytest.mark.parametrize("regex", EXPRESSIONS)
def test_texts_of_a_regular_expression_match_it_as_a_whole(regex: str) -> None:
    grammar = regex_grammar(regex, param="field")
    for seed in range(10):
        text = byte_walker().walk(grammar, random.Random(seed)).text
        assert text is not None and re.fullmatch(regex, text), text
        assert all(c.isascii() for c in text if c.isdigit())


def test_a_range_that_ends_in_digits_is_refused() -> None:
    """It is one nowhere, and ``-`` before the brackets that digits are spelled with would begin another."""
    for regex in (r"[+-\d]", r"x[^ab-\D]"):
        with pytest.raises(RequestError, match="in brackets would be a range"):
            regex_grammar(regex, param="field")


def test_choices_are_taken_as_they_are_written() -> None:
    choices = [
        "yes",
        "no",
        "yes, but",
        'quoted "x"',
        "back\\slash",
        "new\nline",
        "日本",
        "👩‍👩‍👧",
        "\x01",
        "a{2}",
        "/",
        "",
        " ",
    ]
    grammar = choice_grammar(choices, param="field")
    assert all(byte_walker().accepts(grammar, choice) for choice in choices)
    assert not any(byte_walker().accepts(grammar, text) for text in ("y", "aa", "yes,", "  ", "quoted x", "yesno"))
    assert byte_walker().accepts(
        choice_grammar([f"{i} of many" for i in range(MAX_CHOICES)], param="field"), "77 of many"
    )


def test_json_objects() -> None:
    grammar = json_object_grammar()
    assert byte_walker().accepts(grammar, '{"a": [1, {"b": null}]}')
    assert not any(byte_walker().accepts(grammar, text) for text in ("[]", "1", '"{}"', "{}{}"))


LARK = """
start: item ("," item)*
item: NAME "=" %json {"type": "integer", "minimum": 0}
NAME: /[a-z]+/
"""
GBNF = """
# a comment
root  ::= "<" name ">" ( ws name )*
name  ::= [a-z] [a-zA-Z0-9_-]{0,3}
ws    ::= [ \\t]?
"""


@pytest.mark.parametrize(
    ("text", "right", "wrong"),
    [
        (LARK, ["a=1", "abc=0,d=12"], ["a=-1", "a=", "a=1,"]),
        (GBNF, ["<abc>", "<a> b2c"], ["<>", "<1a>", "<abcde>"]),
        (
            r'root ::= "\u3042\u0041" | [\u0042-\u0044\u3044] | "\U0001F600" | "\x45"',
            ["あA", "C", "い", "😀", "E"],
            ["A"],
        ),
        ("start: /[0-9]+/", ["0", "12"], ["", "a"]),
    ],
)
def test_written_grammars(text: str, right: list[str], wrong: list[str]) -> None:
    grammar = written_grammar(text, param="field")
    assert all(byte_walker().accepts(grammar, answer) for answer in right)
    assert not any(byte_walker().accepts(grammar, answer) for answer in wrong)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("start: unknown", "unknown"),
        ("start: start", "no text at all"),
        ("root := 1", "neither Lark nor GBNF"),
        ('start: %json {"not": {}}', "not at #/not"),
        ('start: %json {"x-guidance": {"lenient": true}, "not": {}}', "x-guidance"),
        ("start: %json {", "no JSON"),
        ('%llguidance {"allow_invalid_utf8": true}\nstart: /./', "%llguidance"),
        ("start: a\na[temperature=0.5]: /.*/", "temperature"),
        ('start: a "x"\na[stop="x"]: /.*/', "stop"),
        ("start: <|im_end|>", "special tokens"),
        ("start: " + "(" * 50_000 + '"a"' + ")" * 50_000, "nested"),
        ("root ::= " + "(" * 50_000 + '"a"' + ")" * 50_000, "recursion"),
        ('start: "' + "a" * (1 << 18) + '"', "characters"),
    ],
)
def test_written_grammars_that_are_refused(text: str, reason: str) -> None:
    with pytest.raises(RequestError, match=re.escape(reason)) as raised:
        written_grammar(text, param="field")
    assert raised.value.param == "field" and "\n" not in str(raised.value)


@pytest.mark.parametrize("regex", ["(", "(?=a)b", "(a)\\1", "a" * 20_000, "(" * 300 + "a" + ")" * 300])
def test_regular_expressions_that_are_refused(regex: str) -> None:
    with pytest.raises(RequestError) as raised:
        regex_grammar(regex, param="field")
    assert raised.value.param == "field"


@pytest.mark.parametrize("choices", [[], ["a"] * (MAX_CHOICES + 1)])
def test_choices_that_are_refused(choices: list[str]) -> None:
    with pytest.raises(RequestError):
        choice_grammar(choices, param="field")


def test_our_own_lark_may_hold_schemas_and_special_tokens() -> None:
    schema = schema_text({"type": "object", "properties": {"名": {"const": "値"}}, "required": ["名"]}, param="field")
    text = f'start: "call " body\nbody: %json {schema}'
    assert byte_walker().accepts(lark_grammar(text, param="field"), 'call {"名": "値"}')
    assert "<|tool|>" in lark_grammar(f"start: <|tool|> body\nbody: %json {schema}", param="field")


def test_a_schema_of_true_allows_any_json() -> None:
    assert byte_walker().accepts(json_schema_grammar(True, param="field"), "[1, null]")
