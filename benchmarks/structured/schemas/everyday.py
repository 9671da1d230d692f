"""As they are found: with annotations, and as programs ask for answers."""

from __future__ import annotations

from benchmarks.structured.schemas.forms import DRAFT_7, Schema, a_string, an_object

ANNOTATED: list[Schema] = [
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

REAL: list[Schema] = [
    an_object(
        name=a_string(maxLength=20),
        age={"type": "integer", "minimum": 0, "maximum": 120},
        email=a_string(format="email"),
    ),
    an_object(
        title=a_string(maxLength=20),
        tags={"type": "array", "items": a_string(maxLength=5), "maxItems": 3},
        rating={"type": "number", "minimum": 0, "maximum": 5, "multipleOf": 0.5},
        published={"type": "string", "format": "date"},
    ),
    an_object(
        steps={
            "type": "array",
            "items": an_object(explanation=a_string(maxLength=9), output=a_string(maxLength=9)),
            "maxItems": 2,
        },
        final_answer=a_string(maxLength=9),
    ),
    an_object(
        name={"const": "get_weather"},
        arguments=an_object(("city",), city=a_string(maxLength=12), unit={"enum": ["celsius", "fahrenheit"]}),
    ),
    {
        "$defs": {
            "LineItem": an_object(
                sku=a_string(pattern="^[A-Z]{3}[0-9]{4}$"), qty={"type": "integer", "exclusiveMinimum": 0}
            )
        },
        **an_object(
            id=a_string(format="uuid"),
            lines={"type": "array", "items": {"$ref": "#/$defs/LineItem"}, "minItems": 1, "maxItems": 3},
            note={"anyOf": [a_string(maxLength=9), {"type": "null"}], "default": None},
        ),
    },
    an_object(
        type={"const": "Point"},
        coordinates={"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 3},
    ),
    an_object(
        感情={"enum": ["喜び", "怒り", "哀しみ", "楽しさ"]}, 強さ={"type": "integer", "minimum": 1, "maximum": 5}
    ),
    an_object(answer={"enum": ["A", "B", "C", "D"]}, confidence={"type": "number", "minimum": 0, "maximum": 1}),
]
