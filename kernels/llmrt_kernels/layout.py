"""What packed weights look like in numbers alone. Free of torch."""

from __future__ import annotations

BLOCK = 16  # rows of a matrix that are packed together
# Where scales are integers times others: columns of those, columns of a strip of lines, and its lines by a code's bits.
OUTER_COLUMNS, STRIP_COLUMNS = 256, 64
STRIP_LINES = {4: 9, 6: 13}
