"""Disk space and disk errors, in words a user can act on."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from rich.filesize import decimal

from llmrt.errors import DownloadError


def existing_parent(path: Path) -> Path:
    """``path``, or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def require_space(path: Path, num_bytes: int, *, hint: str) -> None:
    """Raise DownloadError unless the disk of ``path`` has ``num_bytes`` free; ``hint`` names the way out."""
    free = shutil.disk_usage(existing_parent(path)).free
    if free < num_bytes:
        raise DownloadError(
            f"not enough disk space in {path}: {decimal(num_bytes)} needed, {decimal(free)} free; {hint}"
        )


@contextmanager
def disk_errors(path: Path, *, hint: str) -> Generator[None]:
    """Turn the operating system's refusals while writing under ``path`` into a DownloadError of one line."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # the hub client's own errors derive from OSError too, without a number
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DownloadError(f"the disk of {path} is full; {hint}") from error
        raise DownloadError(f"cannot write {error.filename or path}: {error.strerror}; {hint}") from error
