"""What the numbers may be that steer how tokens are drawn: those of a request, and those that a model's files have."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """From ``low``, which is outside if it is ``open_low``, to ``high``."""

    low: float
    high: float
    open_low: bool = False

    def fault(self, value: float) -> str | None:
        """What ``value`` is and must be, None if it is inside; NaN never is."""
        if (self.low < value if self.open_low else self.low <= value) and value <= self.high:
            return None
        return f"is {value}; it must be {'above' if self.open_low else 'at least'} {self.low} and at most {self.high}"


RANGES = {
    "temperature": Range(0.0, 2.0),
    "top_p": Range(0.0, 1.0, open_low=True),
    "min_p": Range(0.0, 1.0),
    "repetition_penalty": Range(0.0, 10.0, open_low=True),
}
