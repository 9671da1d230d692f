"""Reading a JSON body into its schema, with OpenAI's form of every fault in it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException

from llmrt.errors import RequestError

Body = TypeVar("Body", bound=BaseModel)
# How pydantic calls the forms of a field that has several; those in angles are tags of ours.
_FORM = re.compile(r"str|int|float|bool|(list|dict)\[.*\]|<.*>")


def json_body(schema: type[Body], *, of_any_type: bool = False) -> Callable[[Request], Awaitable[Body]]:
    """A dependency that reads the body as ``schema``, or raises ``RequestError`` naming the field at fault.

    With ``of_any_type`` it is read as JSON whatever its content type says.
    """

    async def read(request: Request) -> Body:
        if not of_any_type:
            _check_media_type(request)
        try:
            return schema.model_validate_json(await request.body())
        except ValidationError as error:
            raise _fault(error.errors()) from None

    return read


def as_body(schema: type[Body], fields: Mapping[str, object]) -> Body:
    """``fields``, read from another dialect, as ``schema``; raises as the dependency of ``json_body`` does."""
    try:
        return schema.model_validate(fields)
    except ValidationError as error:
        raise _fault(error.errors()) from None


def _check_media_type(request: Request) -> None:
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise HTTPException(
            415, f"The content type is {media_type!r}; send application/json (curl: -H content-type:application/json)."
        )


def _fault(errors: Sequence[ErrorDetails]) -> RequestError:
    """What is wrong with the first faulty field; of a field with several forms, with the form that was meant."""
    first = _location(errors[0])
    if errors[0]["type"] == "json_invalid":
        reason = errors[0].get("ctx", {}).get("error", errors[0]["msg"])
        return RequestError(f"The request body is not valid JSON: {reason}.", code="invalid_json")
    if not first:
        return RequestError("The request body must be a JSON object.", code="invalid_body")
    location = max((_location(error) for error in errors if _location(error)[: len(first)] == first), key=len)
    param = _path(location)
    faults = [error for error in errors if _location(error) == location]
    if faults[0]["type"] == "missing":
        return RequestError(f"{param} is required.", param=param, code="missing_required_parameter")
    reasons = " or ".join(dict.fromkeys(_reason(error) for error in faults))
    return RequestError(f"{param}: {reasons}.", param=param, code="invalid_value")


def _location(error: ErrorDetails) -> tuple[int | str, ...]:
    """Where it is, without the names of the forms that were tried."""
    return tuple(part for part in error["loc"] if isinstance(part, int) or not _FORM.fullmatch(part))


def _reason(error: ErrorDetails) -> str:
    return str(error.get("ctx", {})["error"]) if error["type"] == "value_error" else _lower_first(error["msg"])


def _path(location: tuple[int | str, ...]) -> str:
    """``messages[0].role`` for ``("messages", 0, "role")``."""
    head, *rest = location
    return str(head) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
