"""Strings, numbers and choices."""

from __future__ import annotations

from benchmarks.structured.schemas.forms import Schema, a_string

STRINGS: list[Schema] = [
    a_string(),
    a_string(minLength=3),
    a_string(maxLength=4),
    a_string(minLength=2, maxLength=2),
    a_string(maxLength=0),
    a_string(minLength=40, maxLength=60),
    a_string(pattern="^[a-z]+$"),
    a_string(pattern="^[A-Z]{2}-[0-9]{3,5}$"),
    a_string(pattern="[a-z]b"),
    a_string(pattern="^a"),
    a_string(pattern="z$"),
    a_string(pattern="^(foo|bar)+$"),
    a_string(pattern='^[^"\\\\]{1,5}$'),
    a_string(pattern="^\\S+@\\S+$"),
    a_string(pattern="^[ぁ-ん]{1,4}$"),
    a_string(pattern="^(😀|😃){2}$"),
    a_string(pattern="^[a-z]+$", minLength=3, maxLength=5),
    a_string(pattern="^\\w{1,3}$"),
    a_string(pattern="^a.c$"),
    a_string(pattern="^[\\x20-\\x7e]{1,8}$"),
    a_string(pattern="^(?:[01][0-9]|2[0-3]):[0-5][0-9]$"),
    a_string(pattern="^\\$[0-9]+(\\.[0-9]{2})?$"),
    a_string(pattern="^\\/[a-z]*\\/$"),
    a_string(pattern=""),
    {"minLength": 2, "maxLength": 3},
]

_FORMATS = ("date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri")
FORMATS: list[Schema] = [*(a_string(format=name) for name in _FORMATS), a_string(format="date", minLength=1)]

NUMBERS: list[Schema] = [
    {"type": "integer"},
    {"type": "number"},
    {"type": "integer", "minimum": 0},
    {"type": "integer", "minimum": 1, "maximum": 12},
    {"type": "integer", "minimum": -5, "maximum": 5},
    {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 3},
    {"type": "integer", "minimum": -1000000, "maximum": -999},
    {"type": "integer", "maximum": -1},
    {"type": "integer", "minimum": 99, "maximum": 100001},
    {"type": "integer", "minimum": 1.5, "maximum": 4.5},
    {"type": "integer", "multipleOf": 5},
    {"type": "integer", "multipleOf": 7, "minimum": 10, "maximum": 100},
    {"type": "integer", "multipleOf": 100},
    {"type": "number", "minimum": 0, "maximum": 1},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"type": "number", "minimum": -1.25, "maximum": 3.5},
    {"type": "number", "exclusiveMinimum": -0.5},
    {"type": "number", "maximum": 1e6},
    {"type": "number", "multipleOf": 0.01},
    {"type": "number", "multipleOf": 0.5, "minimum": 0, "maximum": 10},
    {"type": "number", "multipleOf": 2.5},
    {"type": "integer", "minimum": 5, "maximum": 5},
    {"type": "number", "minimum": 0.001, "maximum": 0.002},
    {"type": "integer", "minimum": -9007199254740991, "maximum": 9007199254740991},
    {"minimum": 3, "maximum": 4},
    {"type": ["integer", "null"], "minimum": 0, "maximum": 9},
]

CHOICES: list[Schema] = [
    {"enum": ["red", "green", "blue"]},
    {"enum": ["😀", "👩‍👩‍👧", "🇯🇵"]},
    {"enum": ["東京", "大阪", "ありがとう"]},
    {"enum": [1, 2.5, -3, "1", None, True]},
    {"enum": [{"a": 1}, [1, 2], {"b": {"c": []}}]},
    {"enum": ["", " ", "\n", '\t"\\', "\u0000"]},
    {"enum": ["a", "ab", "abc"], "type": "string"},
    {"enum": ["a", 1], "type": "integer"},
    {"enum": [f"value {i}" for i in range(300)]},
    {"enum": [1e10, 1e-7, 0, -0.0]},
    {"const": "only"},
    {"const": None},
    {"const": {"nested": ["値", 1, {"x": False}]}},
    {"const": 3.14},
    {"const": []},
    {"type": "boolean"},
    {"type": "null"},
    {"type": ["string", "integer"]},
    {"type": ["object", "array", "null"]},
    {},
    {"enum": ["/", "\u2028", "\u007f", "é", "e\u0301"]},
]
