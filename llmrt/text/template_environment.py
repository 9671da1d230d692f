"""jinja2 as chat templates expect it: the environment of transformers' ``apply_chat_template``.

It is jinja2's sandbox, because a template comes with a model and is not trusted.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llmrt.errors import TemplateError


def compile_template(source: str) -> jinja2.Template:
    """The template in ``source``; ``TemplateError`` names the line that cannot be parsed."""
    try:
        return _environment().from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(f"Line {error.lineno} of the chat template: {error.message}") from error


def variables_of(source: str) -> frozenset[str]:
    """The names that the template in ``source``, which compiles, looks up and does not always set itself."""
    environment = _environment()
    return frozenset(meta.find_undeclared_variables(environment.parse(source)))


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    functions: dict[str, Any] = {"raise_exception": _raise_exception, "strftime_now": _strftime_now}
    environment.globals.update(functions)
    return environment


class _GenerationBlock(Extension):
    """``{% generation %}`` marks what the model wrote, for training; here it is its content."""

    tags = {"generation"}  # noqa: RUF012 - an instance's in the base class

    def parse(self, parser: Parser) -> nodes.Node:
        """A scope of its own around the content."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Plain JSON: jinja2's own filter escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)
