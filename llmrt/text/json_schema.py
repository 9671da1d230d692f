"""JSON schemas (draft 2020-12) as llguidance compiles them, and the refusal of what it would not enforce.

llguidance refuses most keywords that it does not know to be enforced. What it lets through is looked for here: keywords
whose value it takes for something else, keywords behind a ``$ref`` to a place that it does not look at, counts of
properties that may be repeated, and settings that switch its refusals off. A keyword that no draft defines constrains
nothing, as the specification says.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from llmrt.errors import RequestError
from llmrt.text.closed_objects import with_closed_objects
from llmrt.text.grammar_text import check_grammar_text
from llmrt.text.schema_alternatives import exclude_each_other
from llmrt.text.schema_references import (
    LIST_OF_SCHEMAS,
    MAP_OF_SCHEMAS,
    ONE_SCHEMA,
    Found,
    JsonSchema,
    Pointer,
    resolve_local,
    spell_pointer,
)

MAX_SCHEMA_CHARS = 1 << 18
MAX_DEPTH = 100
MAX_PROPERTIES = 2000
MAX_MULTIPLE = 10_000

# One line, with or without a space after commas and colons: a small model that may write white space anywhere
# may never stop.
_LAYOUT = {
    "whitespace_flexible": False,
    "item_separator": ", ?",
    "key_separator": ": ?",
    "coerce_one_of": False,
    "lenient": False,
}

_UNSUPPORTED = frozenset(
    {
        "$dynamicRef",
        "$recursiveRef",
        "additionalItems",
        "contains",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "else",
        "if",
        "maxContains",
        "minContains",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
        "uniqueItems",
    }
)


def schema_text(schema: object, *, param: str) -> str:
    """``schema`` (parsed JSON) with llmrt's own settings, as llguidance reads it, also behind ``%json`` in Lark.

    Raises ``RequestError`` that names ``param``, the keyword and where it stands, for a schema that is none, is too
    large, or would not be enforced as a whole.
    """
    root = {} if schema is True else schema
    if not isinstance(root, dict):
        raise RequestError(f"{param} must be a JSON schema: an object.", param=param)
    if "x-guidance" in root:
        raise RequestError(f"{param} must not set x-guidance.", param=param)
    checked = with_closed_objects(_Checker(root, param).checked())
    text = json.dumps({**checked, "x-guidance": _LAYOUT}, ensure_ascii=False)
    check_grammar_text(text, MAX_SCHEMA_CHARS, param)
    return text


class _Checker:
    """Walks a schema and all that its references reach."""

    def __init__(self, root: dict[str, Any], param: str) -> None:
        self._root = root
        self._param = param
        self._walked: set[Pointer] = set()
        self._referred: list[Found] = []
        self._multiples = 1

    def checked(self) -> JsonSchema:
        """The whole schema as llguidance enforces it.

        What a reference leads to is checked but left as it is, where llguidance refuses more than it has to.
        """
        schema = self._schema(self._root, ())
        assert isinstance(schema, dict)
        while self._referred:
            found = self._referred.pop()
            if found.at not in self._walked:
                self._schema(found.schema, found.at)
        return schema

    def _schema(self, schema: object, at: Pointer) -> JsonSchema | bool:
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise self._refusal(at, "must be a schema: an object or a boolean")
        if len(at) > MAX_DEPTH:
            raise self._refusal(at, f"is nested too deeply; {MAX_DEPTH} levels are possible")
        self._walked.add(at)
        checked = dict(item for keyword, value in schema.items() for item in self._keyword(schema, keyword, value, at))
        self._check_counts(checked, at)
        return checked

    def _keyword(self, schema: JsonSchema, keyword: str, value: Any, at: Pointer) -> Iterator[tuple[str, Any]]:
        """The keyword as it is passed on; nothing for one that asks for nothing."""
        here = (*at, keyword)
        if keyword in _UNSUPPORTED:
            if (keyword, value) != ("uniqueItems", False):
                raise self._refusal(here, "is not supported")
        elif keyword in ONE_SCHEMA:
            yield keyword, self._schema(value, here)
        elif keyword in LIST_OF_SCHEMAS:
            parts = [self._schema(part, (*here, i)) for i, part in enumerate(self._typed(value, list, here))]
            yield self._alternatives(schema, keyword, parts), parts
        elif keyword in MAP_OF_SCHEMAS:
            named = self._typed(value, dict, here).items()
            yield keyword, {name: self._schema(part, (*here, name)) for name, part in named}
        elif keyword != "format" or _may_be_string(schema):
            self._check_value(keyword, value, here)
            yield keyword, value

    def _alternatives(self, schema: JsonSchema, keyword: str, parts: list[JsonSchema | bool]) -> str:
        """``oneOf`` is ``anyOf`` where no two alternatives go together."""
        is_any = keyword == "oneOf" and "anyOf" not in schema and exclude_each_other(parts, self._root)
        return "anyOf" if is_any else keyword

    def _check_value(self, keyword: str, value: Any, at: Pointer) -> None:
        match keyword:
            case "$ref":
                self._check_reference(value, at)
            case "multipleOf":
                self._check_multiple(value, at)
            case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" if not _is_number(value):
                raise self._refusal(at, f"is {value!r}; it must be a number")
            case "required" if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
                raise self._refusal(at, "must be a list of names")
            case _:
                pass

    def _check_reference(self, reference: Any, at: Pointer) -> None:
        found = resolve_local(self._root, self._typed(reference, str, at))
        if found is not None:
            self._referred.append(found)

    def _check_multiple(self, value: Any, at: Pointer) -> None:
        """Remainders are states of an automaton: one for each, but for factors of the base."""
        if not _is_number(value) or not 0 < value < math.inf:
            raise self._refusal(at, f"is {value!r}; it must be a number above 0")
        multiple = Fraction(str(value)).numerator
        for factor in (2, 5):
            while multiple % factor == 0:
                multiple //= factor
        self._multiples = math.lcm(self._multiples, multiple)
        if self._multiples > MAX_MULTIPLE:
            raise self._refusal(at, f"is too large; all of a schema may have {MAX_MULTIPLE} for a common multiple")

    def _check_counts(self, schema: JsonSchema, at: Pointer) -> None:
        """Properties that are not listed may be repeated in an answer, so a count of them would not hold."""
        listed = schema.get("properties", {})
        if isinstance(listed, Mapping) and len(listed) > MAX_PROPERTIES:
            raise self._refusal((*at, "properties"), f"has {len(listed)} properties; {MAX_PROPERTIES} are possible")
        least = schema.get("minProperties", 0)
        if isinstance(least, int | float) and least > max(1, len({*schema.get("required", ())})):
            raise self._refusal((*at, "minProperties"), "is not supported above 1 for properties that are not required")

    def _typed(self, value: Any, kind: type, at: Pointer) -> Any:
        if not isinstance(value, kind):
            names = {list: "a list", dict: "an object", str: "a string"}
            raise self._refusal(at, f"must be {names[kind]}")
        return value

    def _refusal(self, at: Pointer, reason: str) -> RequestError:
        place = f"{self._param}: {at[-1] if at else 'the schema'} at {spell_pointer(at)}"
        return RequestError(f"{place} {reason}.", param=self._param, code="invalid_grammar")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _may_be_string(schema: JsonSchema) -> bool:
    """Formats of numbers ("int32") constrain nothing; those of strings do."""
    kinds = schema.get("type", "string")
    return "string" in (kinds if isinstance(kinds, list) else [kinds])
