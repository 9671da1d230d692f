"""``GET /docs``: the routes and their bodies for people to read, made from ``/openapi.json``; loads nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from llmrt.server.routes.page import HEADERS

router = APIRouter(include_in_schema=False)

_Schema = Mapping[str, Any]
_JSON = "application/json"
_FOLDER = Path(__file__).parents[1] / "templates"


@router.get("/docs")
async def reference(request: Request) -> Response:
    """The page, made anew each time: it is seldom asked for."""
    return Response(render(request.app.openapi()), headers=HEADERS, media_type="text/html; charset=utf-8")


def render(described: _Schema) -> str:
    """The page for an OpenAPI description."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("reference.html.j2").render(api=described, bodies=_bodies, type_of=_type_of)


def _bodies(operation: _Schema) -> dict[str, Markup]:
    """What goes in, what comes out, and what the parts of a stream are."""
    shown: dict[str, Markup] = {}
    for parameter in operation.get("parameters", ()):
        shown[f"{parameter['name']}, in the {parameter['in']}"] = _type_of(parameter["schema"])
    if "requestBody" in operation:
        shown["Request"] = _type_of(operation["requestBody"]["content"][_JSON]["schema"])
    for media_type, content in operation["responses"]["200"].get("content", {}).items():
        name = "Answer" if media_type == _JSON else f"Parts of a stream ({media_type})"
        event = content["schema"].get("properties", {}).get("data", {})
        shown[name] = _type_of(event.get("contentSchema", content["schema"]))
    return shown


def _type_of(schema: _Schema) -> Markup:
    """A schema in a few words, with links to those that have a name."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return Markup('<a href="#{0}">{0}</a>').format(name)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return Markup(" or ").join(dict.fromkeys(map(_type_of, schema[word])))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return Markup(" or ").join(Markup("<code>{}</code>").format(repr(value)) for value in values)
    kind = schema.get("type", "any")
    if kind == "array":
        return Markup("list of {}").format(_type_of(schema.get("items", {})))
    return Markup("{}").format(kind)
