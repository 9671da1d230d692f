"""One file of a hub repository into the shared Hugging Face cache: resumed, retried, checked.

huggingface_hub keeps no partial file when a process ends, so a broken pull of a large file would begin again
at zero, and it compares no checksums. The bytes are therefore fetched here, into the cache's own blob names,
with the library's session, headers and locks.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import constants, get_session, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import WeakFileLock, build_hf_headers, hf_raise_for_status

from llmrt.errors import DownloadError
from llmrt.hub.progress import Meter

CHUNK_BYTES = 1 << 20
MAX_BREAKS = 5
RETRY_SECONDS = 0.5


@dataclass(frozen=True)
class RemoteFile:
    """A file of one commit; ``etag`` is the sha256 of a large (LFS) file, else git's sha1 of the blob."""

    repository: str
    commit: str
    name: str
    size: int
    etag: str


class _ShortAnswer(httpx2.RemoteProtocolError):
    """The body ended before the size that the hub announced."""


def partial_path(blob: Path) -> Path:
    """Where the bytes of an unfinished blob wait; ``hf cache`` knows this name and can prune it."""
    return blob.with_name(f"{blob.name}.incomplete")


def fetch_blob(file: RemoteFile, blob: Path, lock: Path, meter: Meter) -> None:
    """Put ``file`` at ``blob``, continuing where an earlier attempt stopped.

    Raises DownloadError when the bytes do not have the announced checksum, and the hub client's own errors.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    blob.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        if blob.exists():
            return
        part = partial_path(blob)
        _complete(file, part, meter)
        _verify(file, part)
        os.replace(part, blob)


def _complete(file: RemoteFile, part: Path, meter: Meter) -> None:
    part.touch()
    breaks = 0
    while (done := part.stat().st_size) < file.size:
        try:
            _stream(file, part, done, meter)
        except (httpx2.TransportError, HfHubHTTPError) as error:
            arrived = part.stat().st_size
            breaks = 1 if arrived > done else breaks + 1
            if not _is_transient(error) or breaks > MAX_BREAKS:
                raise
            meter.note(f"the connection broke in {file.name}, resuming at byte {arrived} of {file.size}")
            time.sleep(RETRY_SECONDS * breaks)


def _is_transient(error: httpx2.TransportError | HfHubHTTPError) -> bool:
    return not isinstance(error, HfHubHTTPError) or error.response.status_code >= 500


def _stream(file: RemoteFile, part: Path, done: int, meter: Meter) -> None:
    url = hf_hub_url(file.repository, file.name, revision=file.commit)
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
        hf_raise_for_status(response)
        with part.open("ab" if response.status_code == 206 else "wb") as output:
            for chunk in response.iter_bytes(CHUNK_BYTES):
                output.write(chunk)
                meter.advance(len(chunk))
    if part.stat().st_size < file.size:
        raise _ShortAnswer(f"{file.name} ended early")


def _verify(file: RemoteFile, part: Path) -> None:
    found = _digest(part, file)
    if found != file.etag:
        part.unlink()
        raise DownloadError(
            f"{file.name} of {file.repository} arrived damaged: its checksum is {found[:12]}, the hub "
            f"announces {file.etag[:12]}; it was deleted, run the command again"
        )


def _digest(part: Path, file: RemoteFile) -> str:
    with part.open("rb") as content:
        if len(file.etag) == 64:
            return hashlib.file_digest(content, "sha256").hexdigest()
        header = f"blob {part.stat().st_size}\0".encode()
        return hashlib.sha1(header + content.read(), usedforsecurity=False).hexdigest()
