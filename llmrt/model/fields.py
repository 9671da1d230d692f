"""Reading typed fields out of a config.json, with errors that name the field. Free of torch."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from llmrt.errors import CheckpointError
from llmrt.text.model_files import read_json

T = TypeVar("T", int, float, str, bool)
Number = TypeVar("Number", int, float)

MOST_SIZE = 2**31 - 1  # no model has one beyond it
MOST_COUNT = 4096  # of layers, heads or experts, which are walked through one by one


def finite(where: str, value: float) -> float:
    """A number of a file as a float. Raises ``CheckpointError`` that says ``where`` for NaN and infinity."""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise CheckpointError(f"{where} is {value}; it must be a finite number.")
    return number


def above_zero(where: str, value: Number, most: float = math.inf) -> Number:
    """``value``. Raises ``CheckpointError`` that says ``where`` if it is not above 0, or above ``most``."""
    if not 0 < value <= most:
        bound = "" if most == math.inf else f" and at most {most}"
        raise CheckpointError(f"{where} is {value}; it must be above 0{bound}.")
    return value


def not_negative(where: str, value: Number) -> Number:
    """``value``. Raises ``CheckpointError`` that says ``where`` if it is below 0."""
    if value < 0:
        raise CheckpointError(f"{where} is {value}; it must not be below 0.")
    return value


class Fields:
    """The object at the top of a JSON file, or one inside it; ``where`` is how errors call it."""

    def __init__(self, raw: Mapping[str, Any], where: str) -> None:
        self._raw = raw
        self.where = where

    @classmethod
    def from_file(cls, path: Path) -> Fields:
        """Read a JSON file. Raises ``CheckpointError`` if it is missing, not JSON, or not an object."""
        if not path.is_file():
            raise CheckpointError(f"{path} is missing.")
        return cls(read_json(path), str(path))

    def __contains__(self, name: str) -> bool:
        return self._raw.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def is_null(self, name: str) -> bool:
        """Whether the field is there and null."""
        return name in self._raw and self._raw[name] is None

    def is_on(self, name: str) -> bool:
        """Whether the field is there and neither null, false, zero nor empty."""
        return bool(self._raw.get(name))

    def is_text(self, name: str) -> bool:
        """Whether the field is a string."""
        return isinstance(self._raw.get(name), str)

    def is_one_of(self, name: str, values: Collection[object]) -> bool:
        """Whether the field, None if it is absent, is among ``values``."""
        return self._raw.get(name) in values

    def get(self, name: str, kind: type[T], default: T) -> T:
        """The field ``name``, or ``default`` if it is absent or null."""
        return self.require(name, kind) if name in self else default

    def require(self, name: str, kind: type[T]) -> T:
        """The field ``name``. Raises ``CheckpointError`` if it is absent or of another kind."""
        value = self._raw.get(name)
        if value is None:
            raise CheckpointError(f"{self.where}: the field {name} is missing.")
        if kind is float and type(value) in (int, float):
            return kind(finite(f"{self.where}: {name}", value))
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise CheckpointError(f"{self.where}: {name} is {value!r}, not of type {kind.__name__}.")
        return value

    def size(self, name: str, default: int | None = None, most: int = MOST_SIZE) -> int:
        """A field that counts something: an integer above 0."""
        value = self.require(name, int) if default is None else self.get(name, int, default)
        return above_zero(f"{self.where}: {name}", value, most)

    def count(self, name: str, default: int | None = None) -> int:
        """The same of layers, heads or experts."""
        return self.size(name, default, MOST_COUNT)

    def positive(self, name: str, default: float | None = None, most: float = math.inf) -> float:
        """A number above 0."""
        value = self.require(name, float) if default is None else self.get(name, float, default)
        return above_zero(f"{self.where}: {name}", value, most)

    def not_negative(self, name: str, default: float) -> float:
        """A number that may be 0."""
        return not_negative(f"{self.where}: {name}", self.get(name, float, default))

    def size_or_none(self, name: str) -> int | None:
        """The same, None if the field is absent or null."""
        return self.size(name) if name in self else None

    def inside(self, name: str) -> Fields | None:
        """The object under ``name``, None if it is absent or null."""
        value = self._raw.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise CheckpointError(f"{self.where}: {name} is {value!r}, not an object.")
        return Fields(value, f"{self.where}: {name}")

    def integers(self, name: str) -> list[int]:
        """A list of integers, empty if the field is absent."""
        value = self._raw.get(name) or []
        if not isinstance(value, list) or not all(type(item) is int for item in value):
            raise CheckpointError(f"{self.where}: {name} is not a list of integers.")
        return value

    def floats(self, name: str) -> list[float]:
        """A list of numbers above 0. Raises ``CheckpointError`` if it is absent."""
        value = self._raw.get(name)
        if not isinstance(value, list) or not all(type(item) in (int, float) for item in value):
            raise CheckpointError(f"{self.where}: {name} is not a list of numbers.")
        where = f"{self.where}: a number of {name}"
        return [above_zero(where, finite(where, item)) for item in value]

    def strings(self, name: str) -> list[str]:
        """A list of strings, empty if the field is absent."""
        value = self._raw.get(name) or []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise CheckpointError(f"{self.where}: {name} is not a list of strings.")
        return value
