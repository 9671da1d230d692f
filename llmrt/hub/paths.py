"""Whether something is at a path, and whether its name can be used."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from llmrt.errors import CheckpointError

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def is_there(path: Path) -> bool:
    """Whether something is at ``path``. Raises ``OSError`` where the system does not let us see: to ``Path.exists``
    that is absence, from Python 3.14 on.
    """
    try:
        path.stat()
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        return False
    except ValueError:  # NUL is in no name
        return False
    return True


def check_name(path: Path) -> None:
    """Raise CheckpointError for a name that is no text: libraries that open weights and vocabularies take no other."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        shown = os.fsencode(path).decode("ascii", "backslashreplace")
        raise CheckpointError(f"{shown} is no text in this locale; rename the folder or file, or use UTF-8") from error
