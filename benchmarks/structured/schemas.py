"""Two hundred and more JSON schemas, each with the keyword for which llmrt must refuse it, if it must."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]
DRAFT_7 = "http://json-schema.org/draft-07/schema#"


@dataclass(frozen=True)
class Case:
    """``refused`` is the keyword that the refusal names; None where answers must be possible, and valid."""

    name: str
    schema: Schema
    refused: str | None = None


def cases() -> list[Case]:
    """All of them; names are unique."""
    groups = {
        "string": _STRINGS,
        "format": _formats(),
        "number": _NUMBERS,
        "array": _ARRAYS,
        "object": _OBJECTS,
        "choice": _CHOICES,
        "combined": _COMBINED,
        "reference": _REFERENCES,
        "annotated": _ANNOTATED,
        "real": _REAL,
    }
    accepted = [Case(f"{group}-{i}", schema) for group, some in groups.items() for i, schema in enumerate(some)]
    refused = [Case(f"refused-{i}", schema, keyword) for i, (keyword, schema) in enumerate(_REFUSED)]
    return accepted + refused


def _object(required: tuple[str, ...] = (), **properties: Any) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required or properties),
        "additionalProperties": False,
    }


def _strings(**keywords: Any) -> Schema:
    return {"type": "string", **keywords}


_STRINGS: list[Schema] = [
    _strings(),
    _strings(minLength=3),
    _strings(maxLength=4),
    _strings(minLength=2, maxLength=2),
    _strings(maxLength=0),
    _strings(minLength=40, maxLength=60),
    _strings(pattern="^[a-z]+$"),
    _strings(pattern="^[A-Z]{2}-[0-9]{3,5}$"),
    _strings(pattern="[a-z]b"),
    _strings(pattern="^a"),
    _strings(pattern="z$"),
    _strings(pattern="^(foo|bar)+$"),
    _strings(pattern='^[^"\\\\]{1,5}$'),
    _strings(pattern="^\\S+@\\S+$"),
    _strings(pattern="^[ぁ-ん]{1,4}$"),
    _strings(pattern="^(😀|😃){2}$"),
    _strings(pattern="^[a-z]+$", minLength=3, maxLength=5),
    _strings(pattern="^\\w{1,3}$"),
    _strings(pattern="^a.c$"),
    _strings(pattern="^[\\x20-\\x7e]{1,8}$"),
    _strings(pattern="^(?:[01][0-9]|2[0-3]):[0-5][0-9]$"),
    _strings(pattern="^\\$[0-9]+(\\.[0-9]{2})?$"),
    _strings(pattern="^\\/[a-z]*\\/$"),
    _strings(pattern=""),
    {"minLength": 2, "maxLength": 3},
]

_NUMBERS: list[Schema] = [
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

_ARRAYS: list[Schema] = [
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
    {"type": "array", "items": _object(x=dict(_NUMBERS[0]), y={"type": "boolean"}), "maxItems": 3},
    {"items": {"type": "null"}, "maxItems": 2},
    {"type": "array", "items": True, "maxItems": 2},
    {"type": "array", "uniqueItems": False, "items": {"type": "boolean"}},
    {"type": "array", "minItems": 0, "maxItems": 1, "items": {"type": "string", "maxLength": 3}},
]

_OBJECTS: list[Schema] = [
    {"type": "object"},
    _object(),
    _object(a={"type": "integer"}),
    _object(("b",), a={"type": "integer"}, b={"type": "string"}),
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
    {"type": "object", "minProperties": 2, **{k: v for k, v in _object(a={}, b={}).items() if k != "type"}},
    _object(**{"名前": {"type": "string", "maxLength": 8}, "年齢": {"type": "integer", "minimum": 0, "maximum": 150}}),
    _object(**{'quoted "name"': {"type": "null"}, "back\\slash": {"type": "null"}, "line\nbreak": {"type": "null"}}),
    _object(**{"😀": {"enum": ["🎉", "🚀"]}, "": {"type": "boolean"}}),
    _object(outer=_object(middle=_object(inner={"type": "array", "items": {"type": "string"}, "maxItems": 2}))),
    _object(**{f"p{i}": {"type": "boolean"} for i in range(30)}),
    {"type": "object", "properties": {f"q{i}": {"type": "boolean"} for i in range(40)}, "additionalProperties": False},
    {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
    {"required": ["a"], "type": "object", "additionalProperties": {"type": "null"}},
    {"type": "object", "properties": {"$ref": {"type": "string"}, "not": {"type": "integer"}}, "required": ["not"]},
]

_CHOICES: list[Schema] = [
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

_CAT = _object(kind={"const": "cat"}, lives={"type": "integer", "minimum": 1, "maximum": 9})
_DOG = _object(kind={"const": "dog"}, good={"type": "boolean"})

_COMBINED: list[Schema] = [
    {"anyOf": [{"type": "string", "maxLength": 4}, {"type": "integer"}]},
    {"anyOf": [{"type": "null"}, _object(a={"type": "integer"})]},
    {"anyOf": [_CAT, _DOG]},
    {"oneOf": [_CAT, _DOG]},
    {"oneOf": [{"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}], "$defs": {"cat": _CAT, "dog": _DOG}},
    {"oneOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]},
    {"oneOf": [{"enum": ["a", "b"]}, {"enum": ["c"]}, {"const": "d"}]},
    {"oneOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "object"}]},
    {"oneOf": [{"type": "string"}]},
    _object(
        pet={
            "oneOf": [{"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}],
            "discriminator": {"propertyName": "kind", "mapping": {"cat": "#/$defs/cat", "dog": "#/$defs/dog"}},
        }
    )
    | {"$defs": {"cat": _CAT, "dog": _DOG}},
    {"allOf": [{"type": "integer"}, {"minimum": 3}, {"maximum": 30}]},
    {"allOf": [{"type": "integer", "multipleOf": 2}, {"multipleOf": 3}], "minimum": 0, "maximum": 60},
    {
        "allOf": [{"properties": {"a": {"type": "integer"}}}, {"properties": {"b": {"type": "string"}}}],
        "type": "object",
    },
    {"allOf": [{"required": ["a"]}, {"required": ["b"]}], "type": "object", "properties": {"a": {}, "b": {}}},
    {"allOf": [_strings(minLength=2), _strings(maxLength=3)]},
    {"allOf": [_strings(pattern="^[a-z]"), _strings(pattern="[0-9]$")]},
    {"allOf": [{"type": ["string", "integer"]}, {"type": ["integer", "null"]}]},
    {"anyOf": [{"minimum": 5}, {"maximum": 1}], "type": "integer"},
    {"anyOf": [{"required": ["a"]}, {"required": ["b"]}], **_object(("a",), a={"type": "null"}, b={"type": "null"})},
    {"anyOf": [{"anyOf": [{"const": 1}, {"const": 2}]}, {"const": 3}]},
    {"anyOf": [{"type": "string", "format": "date"}, {"type": "number", "minimum": 0}]},
    {"allOf": [{"anyOf": [{"const": "a"}, {"const": "b"}]}, {"enum": ["b", "c"]}]},
    {"type": "object", "allOf": [{"additionalProperties": {"type": "integer"}}], "properties": {"a": {"minimum": 0}}},
    {"oneOf": [_object(t={"enum": [1, 2]}), _object(t={"const": 3}), _object(t={"type": "string"})]},
    {"type": "string", "anyOf": [{"pattern": "^a+$"}, {"pattern": "^b+$"}], "maxLength": 9},
]

_TREE: Schema = {
    "type": "object",
    "properties": {"v": {"type": "integer"}, "kids": {"type": "array", "items": {"$ref": "#"}, "maxItems": 2}},
    "required": ["v", "kids"],
    "additionalProperties": False,
}
_LIST: Schema = {
    "$defs": {"node": _object(v={"type": "boolean"}, next={"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]})},
    "$ref": "#/$defs/node",
}

_REFERENCES: list[Schema] = [
    _TREE,
    _LIST,
    {"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}},
    {"$ref": "#/definitions/a", "definitions": {"a": {"type": "boolean"}}},
    {"type": "array", "items": {"$ref": "#/$defs/a/properties/x"}, "$defs": {"a": _object(x={"type": "null"})}},
    {"$ref": "#/$defs/a%20b", "$defs": {"a b": {"const": "space"}}},
    {"$ref": "#/$defs/a~1b~0c", "$defs": {"a/b~c": {"const": "escaped"}}},
    {"$ref": "#/$defs/a", "minimum": 3, "$defs": {"a": {"type": "integer", "maximum": 9}}},
    {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/c"}, "c": {"const": "end"}}},
    {"$ref": "#here", "$defs": {"x": {"$anchor": "here", "type": "boolean"}}},
    {"$ref": "item", "$id": "http://example.com/root", "$defs": {"i": {"$id": "item", "enum": ["by id"]}}},
    {"$ref": "#/components/schemas/P", "components": {"schemas": {"P": _object(x={"type": "integer"})}}},
    {"prefixItems": [{"type": "string", "maxLength": 3}, {"$ref": "#/prefixItems/0"}], "items": False, "type": "array"},
    {
        "$ref": "#/$defs/a",
        "$defs": {
            "a": _object(b={"anyOf": [{"$ref": "#/$defs/b"}, {"type": "null"}]}),
            "b": _object(a={"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}),
        },
    },
    {
        "$ref": "#/$defs/json",
        "$defs": {
            "json": {
                "anyOf": [
                    {"type": ["null", "boolean", "integer"]},
                    {"type": "string", "maxLength": 5},
                    {"type": "array", "items": {"$ref": "#/$defs/json"}, "maxItems": 2},
                    {"type": "object", "additionalProperties": {"$ref": "#/$defs/json"}, "maxProperties": 2},
                ]
            }
        },
    },
    {
        "$ref": "#/$defs/expr",
        "$defs": {
            "expr": {"oneOf": [{"type": "integer"}, {"$ref": "#/$defs/sum"}]},
            "sum": _object(op={"enum": ["+", "-"]}, left={"$ref": "#/$defs/expr"}, right={"$ref": "#/$defs/expr"}),
        },
    },
    {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}], "$defs": {"a": {"minimum": 2}, "b": {"maximum": 4}}}
    | {"type": "integer"},
]

_ANNOTATED: list[Schema] = [
    {"title": "T", "description": "D", "default": 3, "examples": [1, 2], "type": "integer", "maximum": 9},
    {"$comment": "c", "deprecated": True, "readOnly": True, "writeOnly": False, "type": "boolean"},
    {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "boolean"},
    {"$schema": DRAFT_7, "definitions": {"a": {"type": "null"}}, "properties": {"x": {"$ref": "#/definitions/a"}}},
    {"type": "integer", "format": "int64", "minimum": 0, "maximum": 9},
    {"type": "number", "format": "double", "minimum": 0, "maximum": 1},
    {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png", "maxLength": 9},
    {"type": "boolean", "x-vendor": {"anything": [1]}, "example": True, "xml": {"name": "b"}},
    {"$vocabulary": {}, "$id": "https://example.com/s", "type": "boolean"},
]

_REAL: list[Schema] = [
    _object(
        name=_strings(maxLength=20),
        age={"type": "integer", "minimum": 0, "maximum": 120},
        email=_strings(format="email"),
    ),
    _object(
        title=_strings(maxLength=20),
        tags={"type": "array", "items": _strings(maxLength=5), "maxItems": 3},
        rating={"type": "number", "minimum": 0, "maximum": 5, "multipleOf": 0.5},
        published={"type": "string", "format": "date"},
    ),
    _object(
        steps={
            "type": "array",
            "items": _object(explanation=_strings(maxLength=9), output=_strings(maxLength=9)),
            "maxItems": 2,
        },
        final_answer=_strings(maxLength=9),
    ),
    _object(
        name={"const": "get_weather"},
        arguments=_object(("city",), city=_strings(maxLength=12), unit={"enum": ["celsius", "fahrenheit"]}),
    ),
    {
        "$defs": {
            "LineItem": _object(
                sku=_strings(pattern="^[A-Z]{3}[0-9]{4}$"), qty={"type": "integer", "exclusiveMinimum": 0}
            )
        },
        **_object(
            id=_strings(format="uuid"),
            lines={"type": "array", "items": {"$ref": "#/$defs/LineItem"}, "minItems": 1, "maxItems": 3},
            note={"anyOf": [_strings(maxLength=9), {"type": "null"}], "default": None},
        ),
    },
    _object(
        type={"const": "Point"},
        coordinates={"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 3},
    ),
    _object(感情={"enum": ["喜び", "怒り", "哀しみ", "楽しさ"]}, 強さ={"type": "integer", "minimum": 1, "maximum": 5}),
    _object(answer={"enum": ["A", "B", "C", "D"]}, confidence={"type": "number", "minimum": 0, "maximum": 1}),
]


def _formats() -> list[Schema]:
    names = ("date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri")
    return [_strings(format=name) for name in names] + [_strings(format="date", minLength=1)]


_REFUSED: list[tuple[str, Schema]] = [
    ("not", {"not": {"type": "string"}}),
    ("not", _object(a={"type": "integer", "not": {"const": 3}})),
    ("if", {"if": {"type": "integer"}, "then": {"minimum": 3}}),
    ("then", _object(a={"then": {"minimum": 3}})),
    ("else", {"type": "object", "properties": {"a": {"else": False}}}),
    ("uniqueItems", {"type": "array", "uniqueItems": True}),
    ("contains", {"type": "array", "contains": {"const": 1}}),
    ("minContains", {"type": "array", "minContains": 1}),
    ("maxContains", {"type": "array", "maxContains": 1}),
    ("propertyNames", {"type": "object", "propertyNames": {"pattern": "^a"}}),
    ("dependentRequired", {"type": "object", "dependentRequired": {"a": ["b"]}}),
    ("dependentSchemas", {"type": "object", "dependentSchemas": {"a": {}}}),
    ("dependencies", {"$schema": DRAFT_7, "type": "object", "dependencies": {"a": ["b"]}}),
    ("unevaluatedProperties", {"type": "object", "unevaluatedProperties": False}),
    ("unevaluatedItems", {"type": "array", "unevaluatedItems": False}),
    ("additionalItems", {"$schema": DRAFT_7, "type": "array", "items": {}, "additionalItems": False}),
    ("items", {"$schema": DRAFT_7, "items": [{"type": "string"}]}),
    ("items", {"type": "array", "items": [{"type": "string"}]}),
    ("$dynamicRef", {"$dynamicRef": "#a", "$defs": {"x": {"$dynamicAnchor": "a"}}}),
    ("$recursiveRef", {"$recursiveRef": "#"}),
    ("minProperties", {"type": "object", "minProperties": 2}),
    ("minProperties", {"type": "object", "minProperties": 3, "properties": {"a": {}}, "required": ["a"]}),
    ("oneOf", {"oneOf": [{"type": "integer"}, {"type": "number"}]}),
    ("oneOf", {"oneOf": [{"type": "string"}, {"pattern": "^a"}]}),
    ("oneOf", {"oneOf": [_object(("a",), a={}, b={}), _object(("b",), a={}, b={})]}),
    ("not", {"$ref": "#/elsewhere/a", "elsewhere": {"a": {"not": {}}}}),
    ("not", {"anyOf": [{"type": "null"}, {"allOf": [{"not": {}}]}]}),
    ("not", {"$defs": {"unused": {"not": {}}}, "type": "null"}),
    ("$ref", {"$ref": "https://example.com/schema.json"}),
    ("$ref", {"$ref": "#/$defs/missing"}),
    ("$ref", {"$ref": "#"}),
    ("$ref", {"$ref": 5}),
    ("format", _strings(format="unheard-of")),
    ("format", _strings(format="regex")),
    ("type", {"type": "text"}),
    ("type", {"type": 3}),
    ("enum", {"enum": []}),
    ("enum", {"enum": "a"}),
    ("anyOf", {"anyOf": []}),
    ("anyOf", {"anyOf": {"type": "null"}}),
    ("allOf", {"allOf": [{"type": "string"}, {"type": "integer"}]}),
    ("allOf", {"allOf": [3]}),
    ("properties", {"properties": []}),
    ("properties", {"properties": {"a": 3}}),
    ("required", {"type": "object", "required": "a"}),
    ("required", {"type": "object", "required": ["a"], "properties": {"a": False}}),
    ("additionalProperties", {"type": "object", "additionalProperties": "no"}),
    ("minLength", _strings(minLength="3")),
    ("minLength", _strings(minLength=3, maxLength=2)),
    ("maxLength", _strings(maxLength=-1)),
    ("minItems", {"type": "array", "minItems": 3, "maxItems": 2}),
    ("minimum", {"type": "integer", "minimum": 5, "maximum": 4}),
    ("minimum", {"type": "integer", "minimum": "5"}),
    ("minimum", {"type": "integer", "minimum": 1.2, "maximum": 1.8}),
    ("exclusiveMinimum", {"type": "integer", "minimum": 0, "exclusiveMinimum": True}),
    ("multipleOf", {"type": "integer", "multipleOf": 0}),
    ("multipleOf", {"type": "integer", "multipleOf": 1000003}),
    ("pattern", _strings(pattern="(")),
    ("pattern", _strings(pattern="^(?=a)b")),
    ("pattern", _strings(pattern="(a)\\1")),
    ("pattern", _strings(pattern=3)),
    ("pattern", _strings(pattern="^a$", minLength=2)),
    ("patternProperties", {"type": "object", "patternProperties": {"(": {}}}),
    ("patternProperties", {"type": "object", "patternProperties": {"^a": {"type": "null"}, "b$": {"type": "null"}}}),
    ("x-guidance", {"x-guidance": {"lenient": True}, "type": "null"}),
]


def accepted() -> list[Case]:
    """Those that must be followed."""
    return [case for case in cases() if case.refused is None]


def refused() -> list[Case]:
    """Those that must be refused."""
    return [case for case in cases() if case.refused is not None]
