"""Whether something is at a path, and whether its name can be used."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from llmrt.errors import CheckpointError

_SUFFIXES = (".json", ".jinja", ".model", ".safetensors", ".gguf")  # of what is read of a model
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


def check_files(folder: Path) -> None:
    """``check_file`` of all in ``folder`` that is read of a model or an adapter."""
    for path in sorted([*folder.iterdir(), *folder.glob("additional_chat_templates/*")]):
        if path.suffix in _SUFFIXES:
            check_file(path)


def check_file(path: Path) -> None:
    """Raise CheckpointError for a pipe, which would be waited for, and a device, which may have no end."""
    if is_there(path) and not (path.is_file() or path.is_dir()):
        raise CheckpointError(f"{path} is no file but a pipe, a socket or a device; put the model's own file there")
