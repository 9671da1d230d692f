"""Reading a request's JSON body into its schema."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Request
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from llmrt.server.fields import Body, fault_of


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
            raise fault_of(error.errors()) from None

    return read


def _check_media_type(request: Request) -> None:
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise HTTPException(
            415, f"The content type is {media_type!r}; send application/json (curl: -H content-type:application/json)."
        )
