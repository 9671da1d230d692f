"""Two hundred and more JSON schemas, each with the keyword for which llmrt must refuse it, if it must."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.structured.schemas.combined import COMBINED, REFERENCES
from benchmarks.structured.schemas.containers import ARRAYS, OBJECTS
from benchmarks.structured.schemas.everyday import ANNOTATED, REAL
from benchmarks.structured.schemas.forms import Schema
from benchmarks.structured.schemas.unenforced import REFUSED
from benchmarks.structured.schemas.values import CHOICES, FORMATS, NUMBERS, STRINGS

_GROUPS = {
    "string": STRINGS,
    "format": FORMATS,
    "number": NUMBERS,
    "array": ARRAYS,
    "object": OBJECTS,
    "choice": CHOICES,
    "combined": COMBINED,
    "reference": REFERENCES,
    "annotated": ANNOTATED,
    "real": REAL,
}


@dataclass(frozen=True)
class Case:
    """``refused`` is the keyword that the refusal names; None where answers must be possible, and valid."""

    name: str
    schema: Schema
    refused: str | None = None


def accepted() -> list[Case]:
    """Those that must be followed."""
    return [Case(f"{group}-{i}", schema) for group, schemas in _GROUPS.items() for i, schema in enumerate(schemas)]


def refused() -> list[Case]:
    """Those that must be refused."""
    return [Case(f"refused-{i}", schema, keyword) for i, (keyword, schema) in enumerate(REFUSED)]
