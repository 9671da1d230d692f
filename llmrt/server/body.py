"""Reading a JSON body into its schema, with OpenAI's form of every fault in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException

from llmrt.errors import RequestError

Body = TypeVar("Body", bound=BaseModel)


def json_body(schema: type[Body]) -> Callable[[Request], Awaitable[Body]]:
    """A dependency that reads the body as ``schema``, or raises ``RequestError`` naming the field at fault."""

    async def read(request: Request) -> Body:
        _check_media_type(request)
        try:
            return schema.model_validate_json(await request.body())
        except ValidationError as error:
            raise _fault(error.errors()[0]) from None

    return read


def as_body(schema: type[Body], fields: Mapping[str, object]) -> Body:
    """``fields``, read from another dialect, as ``schema``; raises as the dependency of ``json_body`` does."""
    try:
        return schema.model_validate(fields)
    except ValidationError as error:
        raise _fault(error.errors()[0]) from None


def _check_media_type(request: Request) -> None:
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise HTTPException(415, f"The content type is {media_type!r}; send application/json.")


def _fault(error: ErrorDetails) -> RequestError:
    location = error["loc"]
    if error["type"] == "json_invalid":
        reason = error.get("ctx", {}).get("error", error["msg"])
        return RequestError(f"The request body is not valid JSON: {reason}.", code="invalid_json")
    if not location:
        return RequestError("The request body must be a JSON object.", code="invalid_body")
    param = _path(location)
    if error["type"] == "missing":
        return RequestError(f"{param} is required.", param=param, code="missing_required_parameter")
    reason = str(error.get("ctx", {})["error"]) if error["type"] == "value_error" else _lower_first(error["msg"])
    return RequestError(f"{param}: {reason}.", param=param, code="invalid_value")


def _path(location: tuple[int | str, ...]) -> str:
    """``messages[0].role`` for ``("messages", 0, "role")``."""
    head, *rest = location
    return str(head) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
