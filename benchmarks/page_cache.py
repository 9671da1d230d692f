"""Files that the system no longer holds in memory, as after a night."""

from __future__ import annotations

import os
from pathlib import Path


def forget(file: Path) -> None:
    """Drop a file's pages from the page cache, once they are on the disk."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
