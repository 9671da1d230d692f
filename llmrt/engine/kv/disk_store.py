"""Blocks of keys and values as files, one a block, within a bound of bytes. Free of torch.

    FOLDER/MODEL/FINGERPRINT/KEY.kv    [ magic | fingerprint | key | checksum | keys and values ]

The fingerprint is of all that keys and values follow from beside the tokens, which the key is of. A file is written
under another name and renamed, so it is whole or not there; that of a machine that lost its power may be neither, which
the checksum shows when it is read. Any number of processes may use a folder at once: what one of them finds missing is
computed, and what one of them writes the others see when they next look for room. Files that nobody used for longest go
first. They can be read by their owner alone, for they tell of what was asked.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from errno import ENOSPC
from pathlib import Path
from typing import NamedTuple

_MAGIC = b"llmrtkv1"
_CHECKSUM_BYTES = 16
_SUFFIX, _UNFINISHED = ".kv", ".tmp"
_ABANDONED_SECONDS = 600  # after which whoever began to write a file has died
# Of what is free and what is held here: the disk is for others too.
_SHARE_OF_DISK = 0.25
# Of the bound, that is written before looking again at what others have written: they may be beyond it by as much.
_BETWEEN_LOOKS = 1 / 64


class _Held(NamedTuple):
    used: int  # when, in nanoseconds
    size: int
    path: Path


class DiskStore:
    """The blocks of one fingerprint. ``limit`` bytes are for those of all fingerprints in ``folder`` together.

    Raises ``OSError`` for a folder that cannot be made or read.
    """

    def __init__(self, folder: Path, model: str, fingerprint: bytes, limit: int) -> None:
        self._folder = folder
        self._own = folder / model / fingerprint.hex()
        self._fingerprint = fingerprint
        self._limit = limit
        self._room = 0  # bytes that may be written without looking
        self._keys: set[bytes] = set()
        self._make_folder()
        self._make_room(0)

    def __contains__(self, key: object) -> bool:
        """Whether the block was here when this process last looked."""
        return key in self._keys

    def read(self, key: bytes, content: memoryview) -> bool:
        """Read a block into ``content``; False where it is not here, or damaged, and then it is no longer."""
        try:
            with self._path(key).open("rb", buffering=0) as file:
                header = file.read(len(_MAGIC) + len(self._fingerprint) + len(key) + _CHECKSUM_BYTES)
                whole = file.readinto(content) == len(content) and not file.read(1)
        except OSError:
            self._keys.discard(key)
            return False
        if whole and header == self._header(key, content):
            return True
        self._keys.discard(key)
        with suppress(OSError):
            self._path(key).unlink()
        return False

    def write(self, key: bytes, content: memoryview) -> None:
        """Keep a block. Raises ``OSError`` where that cannot be."""
        if key in self._keys:
            return
        self._make_folder()
        header = self._header(key, content)
        self._make_room(len(header) + len(content))
        handle, temporary = tempfile.mkstemp(_UNFINISHED, dir=self._own)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(header)
                file.write(content)
            os.replace(temporary, self._path(key))
        except OSError as error:  # that of a full disk names no file
            Path(temporary).unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(self._folder)) from error
        self._keys.add(key)

    def touch(self, keys: Sequence[bytes]) -> None:
        """Blocks of one prompt, the first of it first, were used: they are to go last, and its first after the rest."""
        for key in reversed(keys):
            try:
                os.utime(self._path(key))
            except OSError:
                self._keys.discard(key)

    def _header(self, key: bytes, content: memoryview) -> bytes:
        from xxhash import xxh3_128_digest  # here, for a machine that only measures may lack it

        named = _MAGIC + self._fingerprint + key
        return named + xxh3_128_digest(named + xxh3_128_digest(content))

    def _path(self, key: bytes) -> Path:
        return self._own / f"{key.hex()}{_SUFFIX}"

    def _make_folder(self) -> None:
        for folder in (self._folder, self._own.parent, self._own):
            folder.mkdir(0o700, parents=True, exist_ok=True)

    def _make_room(self, size: int) -> None:
        """Account for ``size`` bytes more, for which what was not used for longest goes."""
        if 0 < size <= self._room:
            self._room -= size
            return
        held = sorted(_files(self._folder))
        total = sum(file.size for file in held)
        most = min(self._limit, int((total + shutil.disk_usage(self._folder).free) * _SHARE_OF_DISK))
        if size > most:
            raise OSError(ENOSPC, f"{size} bytes are more than the bound of {most}", str(self._folder))
        wanted = max(size, int(most * _BETWEEN_LOOKS))
        for file in held:
            if total + wanted <= most:
                break
            if file.path.suffix == _UNFINISHED:
                continue
            file.path.unlink(missing_ok=True)
            total -= file.size
        self._room = min(most - total, wanted) - size
        self._keys = {key for path in self._own.glob(f"*{_SUFFIX}") if (key := _key(path))}


def _key(path: Path) -> bytes | None:
    """Of the block in ``path``; None for a file that somebody else put there."""
    try:
        return bytes.fromhex(path.stem)
    except ValueError:
        return None


def _files(folder: Path) -> Iterator[_Held]:
    """Every file of every model; those that somebody died over are removed."""
    for path in folder.glob("*/*/*"):
        with suppress(FileNotFoundError):  # another process was faster
            status = path.stat()
            if path.suffix == _UNFINISHED and time.time() - status.st_mtime > _ABANDONED_SECONDS:
                path.unlink()
            else:
                yield _Held(status.st_mtime_ns, status.st_size, path)
