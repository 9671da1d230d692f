"""What a request body says its answer must look like, as one grammar."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from llmrt.errors import RequestError
from llmrt.server.schemas import GenerationBody, StructuredOutputs
from llmrt.text.grammar import (
    choice_grammar,
    json_object_grammar,
    json_schema_grammar,
    regex_grammar,
    written_grammar,
)
from llmrt.text.json_text import parse_json

# A field with the grammar that it asks for; compiling may take long.
_Asked = tuple[str, Callable[[], str]]

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class _Grammar(Protocol[T_contra]):
    """Makes a grammar of a field's value, and calls it ``param`` where it cannot."""

    def __call__(self, value: T_contra, /, *, param: str) -> str: ...


def body_grammar(body: GenerationBody) -> str | None:
    """The grammar that ``body`` asks for, if any. Compiles, which may take a second for large ones.

    Raises ``RequestError`` naming the field that cannot be followed, or one that says something else than another.
    """
    asked = [
        *_response_format(body.response_format),
        *_structured_outputs(body.structured_outputs),
        *_guided(body),
        *_llama_cpp(body),
        *_sglang(body),
    ]
    if not asked:
        return None
    (first, compile_first), *others = asked
    check_end(body, f"{first}, which says where the answer ends")
    grammar = compile_first()
    for name, compile_other in others:  # some clients say the same in the fields of several servers
        if compile_other() != grammar:
            raise RequestError(f"{name} and {first} cannot both say what the answer looks like.", param=name)
    return grammar


def check_end(body: GenerationBody, grammar: str) -> None:
    """Raise ``RequestError`` for a field that says where the answer ends, which a grammar does too."""
    for name in ("ignore_eos", "min_tokens"):
        if getattr(body, name):
            raise RequestError(f"{name} cannot go with {grammar}.", param=name)


def _response_format(asked: Mapping[str, Any] | None) -> Iterator[_Asked]:
    name = "response_format"
    if asked is None:
        return
    match asked.get("type"):
        case "text":
            return
        case "json_object":  # with llama.cpp's own addition, a schema beside the type
            schema = asked.get("schema")
            yield name, lambda: json_object_grammar() if schema is None else json_schema_grammar(schema, param=name)
        case "json_schema":
            schema = _schema_of(asked)
            yield name, lambda: json_schema_grammar(schema, param=name)
        case other:
            raise RequestError(
                f"{name}.type is {other!r}; it must be 'text', 'json_object' or 'json_schema'.", param=name
            )


def _schema_of(response_format: Mapping[str, Any]) -> object:
    match response_format:
        case {"json_schema": {"schema": schema}} if schema is not None:
            return schema
        case {"schema": schema} if schema is not None:  # llama.cpp's shorter form
            return schema
        case _:
            raise RequestError("response_format.json_schema.schema is required.", param="response_format")


def _structured_outputs(asked: StructuredOutputs | None) -> Iterator[_Asked]:
    name = "structured_outputs"
    if asked is None:
        return
    yield from _field(f"{name}.json", asked.json_, _schema_grammar)
    if asked.json_object:
        yield f"{name}.json_object", json_object_grammar
    yield from _field(f"{name}.regex", asked.regex, regex_grammar)
    yield from _field(f"{name}.choice", asked.choice, choice_grammar)
    yield from _field(f"{name}.grammar", asked.grammar, written_grammar)


def _guided(body: GenerationBody) -> Iterator[_Asked]:
    yield from _field("guided_json", body.guided_json, _schema_grammar)
    yield from _field("guided_regex", body.guided_regex, regex_grammar)
    yield from _field("guided_choice", body.guided_choice, choice_grammar)
    yield from _field("guided_grammar", body.guided_grammar, written_grammar)


def _llama_cpp(body: GenerationBody) -> Iterator[_Asked]:
    yield from _field("json_schema", body.json_schema, _schema_grammar)
    yield from _field("grammar", body.grammar or None, written_grammar)  # clients send "" for none


def _sglang(body: GenerationBody) -> Iterator[_Asked]:
    yield from _field("regex", body.regex, regex_grammar)
    yield from _field("ebnf", body.ebnf, written_grammar)


def _field(name: str, value: T | None, grammar: _Grammar[T]) -> Iterator[_Asked]:
    if value is not None:
        yield name, lambda: grammar(value, param=name)


def _schema_grammar(schema: object, *, param: str) -> str:
    """A schema may come as text."""
    if isinstance(schema, str):
        try:
            schema = parse_json(schema)
        except ValueError as error:
            raise RequestError(f"{param} is not valid JSON: {error}.", param=param) from error
    return json_schema_grammar(schema, param=param)
