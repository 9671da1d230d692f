"""Answers that follow a JSON schema are valid, as jsonschema sees it; what would not be enforced is refused."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import pytest

from benchmarks.structured.schemas import Case, accepted, refused
from benchmarks.structured.truth import fault
from benchmarks.structured.walk import byte_walker
from llmrt.errors import RequestError
from llmrt.text.grammar import json_schema_grammar
from llmrt.text.json_schema import MAX_PROPERTIES, MAX_SCHEMA_CHARS

WALKS = 4


@pytest.mark.parametrize("case", accepted(), ids=lambda case: case.name)
def test_c32_any_answer_that_a_schema_lets_through_is_valid(case: Case) -> None:
    grammar = json_schema_grammar(case.schema, param="schema")
    walker = byte_walker()
    texts = [walker.walk(grammar, random.Random(f"{case.name} {i}")).text for i in range(WALKS)]
    assert any(text is not None for text in texts)
    for text in texts:
        assert text is None or fault(case.schema, text) is None, text


@pytest.mark.parametrize("case", refused(), ids=lambda case: f"{case.name}-{case.refused}")
def test_c32_what_would_not_be_enforced_is_refused_by_name(case: Case) -> None:
    assert case.refused is not None
    with pytest.raises(RequestError) as raised:
        json_schema_grammar(case.schema, param="field")
    message = str(raised.value)
    assert raised.value.param == "field" and message.startswith("field")
    assert case.refused in message and "\n" not in message


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": ["x" * MAX_SCHEMA_CHARS]},
        {"properties": {f"p{i}": {} for i in range(MAX_PROPERTIES + 1)}},
        nested(101),
        {"type": "integer", "multipleOf": 99999989},
        {"properties": {f"m{m}": {"multipleOf": m} for m in (97, 101, 103)}},
        {"allOf": [{"anyOf": [{"properties": {f"a{i}": {"type": t}}} for t in ("null", "string")]} for i in range(20)]},
    ],
)
def test_what_would_take_too_long_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        json_schema_grammar(schema, param="field")


def test_there_is_no_room_for_endless_white_space() -> None:
    walker = byte_walker()
    grammar = json_schema_grammar({"type": "object"}, param="field")
    for seed in range(20):
        text = walker.walk(grammar, random.Random(seed)).text or ""
        assert "\n" not in text and "\t" not in text
    texts = ['{"a": 1, "b": [2, 3]}', '{"a":1,"b":[2,3]}']
    assert all(walker.accepts(grammar, text) for text in texts)
    assert not any(walker.accepts(grammar, text) for text in ('{"a":  1}', ' {"a": 1}', '{\n"a": 1}', '{"a": 1} '))


@pytest.mark.parametrize(
    ("left", "right", "exclusive"),
    [
        ({"type": "integer"}, {"type": "string"}, True),
        ({"type": "integer"}, {"type": "number"}, False),
        ({"const": 1}, {"const": 1.0}, False),
        ({"const": 1}, {"const": True}, True),
        ({"enum": ["a", "b"]}, {"enum": ["b", "c"]}, False),
        ({"const": "a"}, {"type": "string"}, False),
        ({"const": "a"}, {"type": "null"}, True),
        ({"const": [1]}, {"const": [1.0]}, False),
        ({"required": ["t"], "properties": {"t": {"const": 1}}}, {"properties": {"t": {"const": 2}}}, False),
        (
            {"type": "object", "required": ["t"], "properties": {"t": {"const": 1}}},
            {"type": "object", "required": ["t"], "properties": {"t": {"const": 2}}},
            True,
        ),
        (
            {"required": ["t"], "properties": {"t": {"const": 1}}},  # also satisfied by what is no object
            {"required": ["t"], "properties": {"t": {"const": 2}}},
            False,
        ),
    ],
)
def test_one_of_is_any_of_only_where_two_cannot_hold(left: Any, right: Any, exclusive: bool) -> None:
    for pair in ([left, right], [right, left]):
        if exclusive:
            json_schema_grammar({"oneOf": pair}, param="field")
        else:
            with pytest.raises(RequestError, match="oneOf"):
                json_schema_grammar({"oneOf": pair}, param="field")


_A = {"properties": {"a": {"type": "integer"}}, "type": "object"}


@pytest.mark.parametrize(
    ("schema", "more", "possible"),
    [
        (_A, '{"a": 1, "b": 2}', False),
        ({"type": "object", "properties": {}}, '{"b": 2}', False),
        ({"type": "array", "items": _A}, '[{"b": 2}]', False),
        ({"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}], "$defs": {"a": _A}}, '{"b": 2}', False),
        ({"oneOf": [_A, {"type": "null"}]}, '{"b": 2}', False),
        ({"type": "object"}, '{"b": 2}', True),
        ({**_A, "additionalProperties": True}, '{"a": 1, "b": 2}', True),
        ({**_A, "required": ["b"]}, '{"a": 1, "b": 2}', True),
        ({**_A, "required": ["a"], "minProperties": 1}, '{"a": 1, "b": 2}', True),
        ({**_A, "anyOf": [{"properties": {"b": {"const": 2}}, "required": ["b"]}]}, '{"a": 1, "b": 2}', True),
        ({"allOf": [_A, {"properties": {"b": {"type": "integer"}}}]}, '{"a": 1, "b": 2}', True),
        ({**_A, "$ref": "#/$defs/b", "$defs": {"b": {"properties": {"b": {}}}}}, '{"a": 1, "b": 2}', True),
    ],
)
def test_properties_that_are_not_listed_are_written_where_the_schema_speaks_of_them(
    schema: Any, more: str, possible: bool
) -> None:
    assert byte_walker().accepts(json_schema_grammar(schema, param="field"), more) == possible
    assert fault(schema, more) is None  # all are valid, so that fewer answers are as well


KEYWORDS = sorted({keyword for case in [*accepted(), *refused()] for keyword in case.schema})
VALUES: list[Any] = [None, True, -1, 2.5, 10**30, "", "a", [], ["a"], [1], [[2]], [{}], {}, {"a": 1}, {"a": {}}]


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_c32_any_value_of_a_keyword_is_followed_or_refused(keyword: str) -> None:
    for value in VALUES:
        for schema in ({keyword: value}, {**_A, keyword: value}, {"items": {**_A, "required": ["a"], keyword: value}}):
            with contextlib.suppress(RequestError):
                json_schema_grammar(schema, param="field")
