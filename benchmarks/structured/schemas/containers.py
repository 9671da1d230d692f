"""Arrays and objects."""

from __future__ import annotations

from benchmarks.structured.schemas.forms import Schema, an_object

ARRAYS: list[Schema] = [
    {"type": "array"},
    {"type": "array", "items": {"type": "integer"}},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 4},
    {"type": "array", "items": {"type": "integer"}, "minItems": 3, "maxItems": 3},
    {"type": "array", "maxItems": 0},
    {"type": "array", "minItems": 1},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
    {"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": False},
    {"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": False, "minItems": 2},
    {"type": "array", "prefixItems": [{"type": "null"}], "items": {"type": "boolean"}, "maxItems": 5},
    {"type": "array", "items": False},
    {"type": "array", "items": {"type": "array", "items": {"type": "integer"}, "maxItems": 2}, "maxItems": 3},
    {"type": "array", "items": {"enum": ["あ", "い", "う"]}, "minItems": 1},
    {"type": "array", "items": an_object(x={"type": "integer"}, y={"type": "boolean"}), "maxItems": 3},
    {"items": {"type": "null"}, "maxItems": 2},
    {"type": "array", "items": True, "maxItems": 2},
    {"type": "array", "uniqueItems": False, "items": {"type": "boolean"}},
    {"type": "array", "minItems": 0, "maxItems": 1, "items": {"type": "string", "maxLength": 3}},
]

OBJECTS: list[Schema] = [
    {"type": "object"},
    an_object(),
    an_object(a={"type": "integer"}),
    an_object(("b",), a={"type": "integer"}, b={"type": "string"}),
    {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"}}},
    {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a", "z"]},
    {"type": "object", "additionalProperties": {"type": "integer"}},
    {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "integer"}},
    {"type": "object", "properties": {"a": True, "b": False}},
    {"type": "object", "patternProperties": {"^x_": {"type": "integer"}}, "additionalProperties": False},
    {"type": "object", "patternProperties": {"^n": {"type": "number"}, "^s": {"type": "string"}}},
    {
        "type": "object",
        "properties": {"id": {"type": "integer"}},
        "patternProperties": {"^meta_": {"type": "string"}},
        "additionalProperties": {"type": "boolean"},
        "required": ["id"],
    },
    {"type": "object", "minProperties": 1, "additionalProperties": {"type": "integer"}},
    {"type": "object", "maxProperties": 2, "additionalProperties": {"type": "integer"}},
    {"type": "object", "maxProperties": 0},
    {"type": "object", "minProperties": 2, **{k: v for k, v in an_object(a={}, b={}).items() if k != "type"}},
    an_object(
        **{"名前": {"type": "string", "maxLength": 8}, "年齢": {"type": "integer", "minimum": 0, "maximum": 150}}
    ),
    an_object(**{'quoted "name"': {"type": "null"}, "back\\slash": {"type": "null"}, "line\nbreak": {"type": "null"}}),
    an_object(**{"😀": {"enum": ["🎉", "🚀"]}, "": {"type": "boolean"}}),
    an_object(outer=an_object(middle=an_object(inner={"type": "array", "items": {"type": "string"}, "maxItems": 2}))),
    an_object(**{f"p{i}": {"type": "boolean"} for i in range(30)}),
    {"type": "object", "properties": {f"q{i}": {"type": "boolean"} for i in range(40)}, "additionalProperties": False},
    {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
    {"required": ["a"], "type": "object", "additionalProperties": {"type": "null"}},
    {"type": "object", "properties": {"$ref": {"type": "string"}, "not": {"type": "integer"}}, "required": ["not"]},
]
