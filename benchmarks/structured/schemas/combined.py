"""Schemas of several others, by keywords and by references."""

from __future__ import annotations

from benchmarks.structured.schemas.forms import Schema, a_string, an_object

_CAT = an_object(kind={"const": "cat"}, lives={"type": "integer", "minimum": 1, "maximum": 9})
_DOG = an_object(kind={"const": "dog"}, good={"type": "boolean"})

COMBINED: list[Schema] = [
    {"anyOf": [{"type": "string", "maxLength": 4}, {"type": "integer"}]},
    {"anyOf": [{"type": "null"}, an_object(a={"type": "integer"})]},
    {"anyOf": [_CAT, _DOG]},
    {"oneOf": [_CAT, _DOG]},
    {"oneOf": [{"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}], "$defs": {"cat": _CAT, "dog": _DOG}},
    {"oneOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]},
    {"oneOf": [{"enum": ["a", "b"]}, {"enum": ["c"]}, {"const": "d"}]},
    {"oneOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "object"}]},
    {"oneOf": [{"type": "string"}]},
    an_object(
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
    {"allOf": [a_string(minLength=2), a_string(maxLength=3)]},
    {"allOf": [a_string(pattern="^[a-z]"), a_string(pattern="[0-9]$")]},
    {"allOf": [{"type": ["string", "integer"]}, {"type": ["integer", "null"]}]},
    {"anyOf": [{"minimum": 5}, {"maximum": 1}], "type": "integer"},
    {"anyOf": [{"required": ["a"]}, {"required": ["b"]}], **an_object(("a",), a={"type": "null"}, b={"type": "null"})},
    {"anyOf": [{"anyOf": [{"const": 1}, {"const": 2}]}, {"const": 3}]},
    {"anyOf": [{"type": "string", "format": "date"}, {"type": "number", "minimum": 0}]},
    {"allOf": [{"anyOf": [{"const": "a"}, {"const": "b"}]}, {"enum": ["b", "c"]}]},
    {"type": "object", "allOf": [{"additionalProperties": {"type": "integer"}}], "properties": {"a": {"minimum": 0}}},
    {"oneOf": [an_object(t={"enum": [1, 2]}), an_object(t={"const": 3}), an_object(t={"type": "string"})]},
    {"type": "string", "anyOf": [{"pattern": "^a+$"}, {"pattern": "^b+$"}], "maxLength": 9},
]

_TREE: Schema = {
    "type": "object",
    "properties": {"v": {"type": "integer"}, "kids": {"type": "array", "items": {"$ref": "#"}, "maxItems": 2}},
    "required": ["v", "kids"],
    "additionalProperties": False,
}

_LIST: Schema = {
    "$defs": {"node": an_object(v={"type": "boolean"}, next={"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]})},
    "$ref": "#/$defs/node",
}

REFERENCES: list[Schema] = [
    _TREE,
    _LIST,
    {"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}},
    {"$ref": "#/definitions/a", "definitions": {"a": {"type": "boolean"}}},
    {"type": "array", "items": {"$ref": "#/$defs/a/properties/x"}, "$defs": {"a": an_object(x={"type": "null"})}},
    {"$ref": "#/$defs/a%20b", "$defs": {"a b": {"const": "space"}}},
    {"$ref": "#/$defs/a~1b~0c", "$defs": {"a/b~c": {"const": "escaped"}}},
    {"$ref": "#/$defs/a", "minimum": 3, "$defs": {"a": {"type": "integer", "maximum": 9}}},
    {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/c"}, "c": {"const": "end"}}},
    {"$ref": "#here", "$defs": {"x": {"$anchor": "here", "type": "boolean"}}},
    {"$ref": "item", "$id": "http://example.com/root", "$defs": {"i": {"$id": "item", "enum": ["by id"]}}},
    {"$ref": "#/components/schemas/P", "components": {"schemas": {"P": an_object(x={"type": "integer"})}}},
    {"prefixItems": [{"type": "string", "maxLength": 3}, {"$ref": "#/prefixItems/0"}], "items": False, "type": "array"},
    {
        "$ref": "#/$defs/a",
        "$defs": {
            "a": an_object(b={"anyOf": [{"$ref": "#/$defs/b"}, {"type": "null"}]}),
            "b": an_object(a={"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}),
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
            "sum": an_object(op={"enum": ["+", "-"]}, left={"$ref": "#/$defs/expr"}, right={"$ref": "#/$defs/expr"}),
        },
    },
    {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}], "$defs": {"a": {"minimum": 2}, "b": {"maximum": 4}}}
    | {"type": "integer"},
]
