"""The keys that a server asks its clients for. Only their hashes are kept and compared."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from pathlib import Path

from llmrt.errors import ConfigError

_KEY = re.compile(r"[\x21-\x7e]+")


class ApiKeys:
    """A set of keys; an empty one asks for none."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._hashes = [_hash(key) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def accepts(self, key: str) -> bool:
        """Whether ``key`` is one of them, in a time that does not tell how much of it is right."""
        given = _hash(key)
        return sum(hmac.compare_digest(given, known) for known in self._hashes) > 0


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
