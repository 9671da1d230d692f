"""Reading fields into their schema, with OpenAI's form of every fault in them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, ErrorDetails
from pydantic_core.core_schema import DictSchema, ListSchema

from llmrt.errors import RequestError

Body = TypeVar("Body", bound=BaseModel)
# What pydantic adds to the place of an error in a field of several forms: the form's type, or its tag, which we put
# in angle brackets.
_FORM = re.compile(r"str|int|float|bool|(list|dict)\[.*\]|<.*>")

# Older versions of pydantic stop so in lists alone.
_STOPPING = [
    kind for kind, schema in (("list", ListSchema), ("dict", DictSchema)) if "fail_fast" in schema.__annotations__
]


def _stop_at_first_faults(schema: Any) -> None:
    """Of a list or an object the first faulty value is told: a body can have millions, and pydantic records each."""
    if isinstance(schema, dict):
        if schema.get("type") in _STOPPING:
            schema["fail_fast"] = True
        schema = schema.values()
    elif not isinstance(schema, list | tuple):
        return
    for inner in schema:
        _stop_at_first_faults(inner)


class RequestSchema(BaseModel):
    """What a client sends: fields of no other types than these, beside which all that is unknown is kept."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[BaseModel], handler: GetCoreSchemaHandler) -> CoreSchema:
        """As pydantic makes it of the fields; called once for each class."""
        schema = handler(source)
        _stop_at_first_faults(schema)
        return schema


def as_body(schema: type[Body], fields: Mapping[str, object]) -> Body:
    """``fields`` as ``schema``. Raises ``RequestError`` naming the field at fault."""
    try:
        return schema.model_validate(fields)
    except ValidationError as error:
        raise fault_of(error.errors()) from None


def fault_of(errors: Sequence[ErrorDetails]) -> RequestError:
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
