"""What a repository's files say of themselves, without their weights: headers alone are fetched, by ranges of bytes.

They are laid out as the model would be, each file of its full size, with a hole in the place of the weights, so what
reads headers from a folder reads them here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import constants, get_session, hf_hub_url
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from llmrt.errors import CheckpointError
from llmrt.hub.download import RemoteFile
from llmrt.hub.failures import hub_errors
from llmrt.hub.layout import MISTRAL, PUBLISHED
from llmrt.hub.repository import list_files, select
from llmrt.hub.request import ModelRequest
from llmrt.text.gguf_metadata import gguf_head_size

FIRST_BYTES = 1 << 16
LARGEST_HEAD = 100_000_000
_CONFIGURATION = (
    *(name for layout in (PUBLISHED, MISTRAL) for name in (layout.config, layout.index)),
    *("quantize_config.json", "quant_config.json"),
)


@contextmanager
def model_heads(request: ModelRequest) -> Generator[Path]:
    """The folder or .gguf file, which is gone afterwards. Raises ``LlmrtError`` as a pull would."""
    with tempfile.TemporaryDirectory(prefix="llmrt-heads-") as scratch:
        folder = Path(scratch)
        with hub_errors(request.repository, request.revision):
            files = select(request, list_files(request))
            for file in files:
                _write_head(file, folder / Path(file.name).name)
        yield folder / Path(files[0].name).name if files[0].name.endswith(".gguf") else folder


def _write_head(file: RemoteFile, path: Path) -> None:
    if path.name in _CONFIGURATION:
        path.write_bytes(_fetch(file, 0, file.size))
    elif path.suffix == ".safetensors":
        _write_safetensors_head(file, path)
    elif path.suffix == ".gguf":
        _write_gguf_head(file, path)


def _write_safetensors_head(file: RemoteFile, path: Path) -> None:
    """Eight bytes of a length, and that many of JSON."""
    first = _fetch(file, 0, FIRST_BYTES)
    end = 8 + int.from_bytes(first[:8], "little")
    if end > min(file.size, LARGEST_HEAD):
        raise CheckpointError(f"{file.name} of {file.repository} is truncated or not a safetensors file.")
    _write(path, first[:end] + _fetch(file, len(first), end), file.size)


def _write_gguf_head(file: RemoteFile, path: Path) -> None:
    """Nothing says how long it is, for it holds the vocabulary: twice as much is read until it ends."""
    head, wanted = b"", FIRST_BYTES
    while len(head) < min(file.size, LARGEST_HEAD):
        head += _fetch(file, len(head), wanted)
        path.write_bytes(head)
        if (end := gguf_head_size(path)) is not None:
            _write(path, head[:end], file.size)
            return
        wanted = 2 * len(head)
    raise CheckpointError(f"{file.name} of {file.repository} is not a GGUF file that can be read.")


def _write(path: Path, head: bytes, size: int) -> None:
    path.write_bytes(head)
    with path.open("r+b") as file:
        file.truncate(size)


def _fetch(file: RemoteFile, start: int, end: int) -> bytes:
    """Bytes ``start`` to ``end``, or to where the file ends; no more is read of a server that sends all."""
    end = min(end, file.size)
    if start >= end:
        return b""
    url = hf_hub_url(file.repository, file.name, revision=file.commit)
    headers = {**build_hf_headers(), "Accept-Encoding": "identity", "Range": f"bytes={start}-{end - 1}"}
    timeout, data = constants.HF_HUB_DOWNLOAD_TIMEOUT, bytearray()
    with get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
        hf_raise_for_status(response)
        skipped = 0 if response.status_code == 206 else start
        for chunk in response.iter_bytes():
            data += chunk
            if len(data) >= skipped + end - start:
                break
    return bytes(data[skipped : skipped + end - start])
