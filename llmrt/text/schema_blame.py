"""Which keyword of a JSON schema is to blame for a refusal that names none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from llmrt.text.schema_references import MAP_OF_SCHEMAS, JsonSchema, Pointer

_SECONDS = 0.5  # of the processor: what is found does not depend on what else the machine does


def blamed_keyword(schema: JsonSchema, is_possible: Callable[[JsonSchema], bool]) -> Pointer | None:
    """Where a keyword stands without which ``schema`` is possible: the innermost one; None if none is found soon."""
    end = time.thread_time() + _SECONDS
    # Without "type" much else has no effect, so it is the last to be blamed.
    for at in sorted(_keys(schema, ()), key=lambda at: (at[-1] == "type", -len(at))):
        if time.thread_time() > end:
            return None
        if is_possible(_without(schema, at)):
            return at
    return None


def _keys(node: object, at: Pointer) -> Iterator[Pointer]:
    steps = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for step, value in steps:
        yield from _keys(value, (*at, step))
        if isinstance(step, str) and (not at or at[-1] not in MAP_OF_SCHEMAS):  # a keyword, not a name
            yield (*at, step)


def _without(node: Any, at: Pointer) -> Any:
    first, *rest = at
    if isinstance(node, list):
        return [_without(part, tuple(rest)) if i == first else part for i, part in enumerate(node)]
    if not rest:
        return {name: part for name, part in node.items() if name != first}
    return {name: _without(part, tuple(rest)) if name == first else part for name, part in node.items()}
