"""The keys that a server asks its clients for. Only their hashes are kept and compared."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from llmrt.errors import ConfigError
from llmrt.server.changed_files import ChangedFiles

logger = logging.getLogger("llmrt.server")

_KEY = re.compile(r"[\x21-\x7e]+")


class ApiKeys:
    """The ``keys`` and those of a ``file``, which is read again when it has changed; without both none is asked for."""

    def __init__(self, keys: Sequence[str], file: Path | None = None) -> None:
        self._hashes = [_hash(key) for key in keys]
        self._file = file
        self._of_file: list[bytes] = []
        self._changes = ChangedFiles(*filter(None, [file]))
        if file is not None:
            self._read(file)

    def __bool__(self) -> bool:
        return bool(self._hashes) or self._file is not None

    def accepts(self, key: str) -> bool:
        """Whether ``key`` is one of them, in a time that does not tell how much of it is right."""
        if self._file is not None and self._changes.changed():
            self._read(self._file)
        given = _hash(key)
        return sum(hmac.compare_digest(given, known) for known in (*self._hashes, *self._of_file)) > 0

    def _read(self, file: Path) -> None:
        try:
            self._of_file = [_hash(key) for key in read_key_file(file)]
        except ConfigError as error:
            logger.error("%s The keys that it had before stay valid.", error)
        else:
            logger.info("--api-key-file %s has %d keys", file, len(self._of_file))


def check_key(key: str, where: str) -> str:
    """``key`` itself. Raises ``ConfigError`` that names ``where`` it stands, and never the key, if none can send it."""
    if not _KEY.fullmatch(key):
        reason = "is empty" if not key else "has a space or a character beyond ASCII, which no header can carry"
        raise ConfigError(f"{where}: the key {reason}.")
    return key


def read_key_file(file: Path) -> list[str]:
    """The keys of a file, one a line; empty lines and those that begin with # are none.

    Raises ``ConfigError`` for a file that cannot be read or has no key: a server without one would be open.
    """
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--api-key-file {file} cannot be read: {getattr(error, 'strerror', 'not UTF-8')}."
        ) from error
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1)]
    keys = [check_key(line, f"{file}, line {n}") for n, line in numbered if line and not line.startswith("#")]
    if not keys:
        raise ConfigError(f"--api-key-file {file} has no key; write one a line.")
    return keys


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
