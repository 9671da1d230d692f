"""What kernels tell the compiler of their values, held against the values."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_hint(name: str, values: Any, given: Any) -> str | None:
    """What is wrong with the hint ``name`` of tl on ``values``, None for nothing."""
    numbers = [getattr(number, "value", number) for number in (given if isinstance(given, (list, tuple)) else [given])]
    for axis, number in enumerate(numbers):
        steps = np.diff(values.astype(np.int64), axis=axis)
        within = np.flatnonzero(np.arange(1, values.shape[axis]) % number)  # a group's own steps
        match name:
            case "multiple_of":
                held = not (_run_starts(values, steps, axis) % number).any()
            case "max_contiguous":
                held = bool((steps.take(within, axis) == 1).all())
            case _:
                held = not steps.take(within, axis).any()
        if not held:
            return f"tl.{name}({number}) does not hold"
    return None


def _run_starts(values: Any, steps: Any, axis: int) -> Any:
    """The first values of runs that go up by one, which is what multiple_of speaks of."""
    first = np.take(values, [0], axis).ravel()
    return np.concatenate([first, np.delete(values, 0, axis)[steps != 1]]).astype(np.int64)
