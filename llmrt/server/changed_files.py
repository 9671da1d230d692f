"""Files that others may replace while the server runs, such as keys and certificates."""

from __future__ import annotations

import os
import time
from pathlib import Path

_LOOK_SECONDS = 1.0


class ChangedFiles:
    """Says when ``files`` are other than they were; it looks at most once a second."""

    def __init__(self, *files: Path) -> None:
        self._files = files
        self._stamps = self._look()

    def changed(self) -> bool:
        """Whether they have changed since the last time that this was so."""
        if time.monotonic() < self._next_look:
            return False
        before, self._stamps = self._stamps, self._look()
        return self._stamps != before

    def _look(self) -> list[tuple[int, int, int] | None]:
        self._next_look = time.monotonic() + _LOOK_SECONDS
        return [_stamp(file) for file in self._files]


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        stat = os.stat(file)
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size
