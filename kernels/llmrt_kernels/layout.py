"""What packed weights look like in numbers alone. Free of torch."""

from __future__ import annotations

BLOCK = 16  # rows of a matrix that are packed together
