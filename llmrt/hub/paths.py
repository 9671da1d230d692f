"""Whether something is at a path."""

from __future__ import annotations

import errno
from pathlib import Path

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
