"""Options that are declared once, as the fields of a dataclass, and taken by several commands."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints


def spread_options(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` as typer takes it: for a parameter that is a dataclass, each of its fields is an option."""
    signature = inspect.signature(command, eval_str=True)
    kinds: dict[str, Any] = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    groups: dict[str, Any] = {name: kind for name, kind in kinds.items() if is_dataclass(kind)}

    @wraps(command)
    def spread(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    parameters = [one for p in signature.parameters.values() for one in _spread(p, groups.get(p.name))]
    vars(spread)["__signature__"] = signature.replace(parameters=parameters)
    return spread


def _spread(parameter: inspect.Parameter, group: Any) -> Iterator[inspect.Parameter]:
    if group is None:
        yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        return
    kinds = get_type_hints(group, include_extras=True)
    for field in fields(group):
        yield inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=kinds[field.name]
        )
