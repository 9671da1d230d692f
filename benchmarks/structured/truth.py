"""Whether a text is valid under a schema, by ``jsonschema`` and the standard library."""

from __future__ import annotations

import ipaddress
import json
import re
import uuid
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlsplit

from jsonschema import FormatChecker
from jsonschema.validators import validator_for

_FORMATS = FormatChecker(())
_DURATION = re.compile(r"P(?!$)(\d+Y)?(\d+M)?(\d+W)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+S)?)?")
_HOSTNAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)


def fault(schema: dict[str, Any], text: str) -> str | None:
    """The first fault of ``text``, None if it is valid. Numbers are exact, so that 0.3 is a multiple of 0.1."""
    try:
        instance = json.loads(text, parse_float=_number)
    except ValueError as error:
        return f"no JSON: {error}"
    exact = json.loads(json.dumps(schema), parse_float=Decimal)
    validator = validator_for(
        schema, default=validator_for({"$schema": "https://json-schema.org/draft/2020-12/schema"})
    )
    found = next(validator(exact, format_checker=_FORMATS).iter_errors(instance), None)
    return None if found is None else found.message


def _number(text: str) -> Decimal | float:
    try:
        return Decimal(text)
    except InvalidOperation:  # beyond all reason, as 1e99999999999999999999
        return float(text)


def _format(name: str) -> Callable[[Callable[[str], object]], None]:
    """Enter a check that fails by ``ValueError`` or a false value."""

    def enter(check: Callable[[str], object]) -> None:
        def checked(value: object) -> bool:
            return not isinstance(value, str) or bool(check(value))

        _FORMATS.checks(name, raises=ValueError)(checked)

    return enter


_format("date")(lambda text: date.fromisoformat(_from_year_1(text)))
_format("ipv4")(ipaddress.IPv4Address)
_format("ipv6")(ipaddress.IPv6Address)
_format("uuid")(uuid.UUID)
_format("duration")(_DURATION.fullmatch)
_format("hostname")(_HOSTNAME.fullmatch)
_format("email")(lambda text: re.fullmatch(r"(\S+|\".+\")@\S+", text))
_format("uri")(lambda text: urlsplit(text).scheme)


def _from_year_1(text: str) -> str:
    """Python knows no year 0, which is a leap year as 2000 is."""
    return re.sub("^0000", "2000", text)


@_format("time")
def _time(text: str) -> object:
    """Python knows no leap second; any other time stands for it."""
    time.fromisoformat(re.sub(r":60", ":59", text.upper()))
    return re.search(r"[Zz]|[+-]\d\d:\d\d$", text)


@_format("date-time")
def _date_time(text: str) -> object:
    datetime.fromisoformat(re.sub(r":60", ":59", _from_year_1(text).upper()))
    return re.search(r"[Zz]|[+-]\d\d:\d\d$", text)
