"""What ``llmrt tune`` measured, kept for each GPU in the user's cache folder. Free of torch.

It is used where GPU, Triton and the kernels' source are those that it was measured with, whatever the driver.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

import msgspec
import platformdirs

import llmrt_kernels
from llmrt.errors import ConfigError

Numbers = tuple[int, ...]
AGAIN = "the kernels' own table is used; run `llmrt tune MODEL` again"


class Origin(msgspec.Struct, frozen=True):
    """What the figures hold for: a GPU by its name, Triton by its version, the kernels by a hash of their source."""

    gpu: str
    triton: str
    kernels: str


class TunedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``tiles``: launch configurations by name, see ``llmrt_kernels.triton.tuned``."""

    origin: Origin
    tiles: dict[str, Numbers]


def tuned_path(gpu: str) -> Path:
    """Where a GPU's file is."""
    return platformdirs.user_cache_path("llmrt") / "tuned" / f"{re.sub(r'[^A-Za-z0-9]+', '-', gpu).strip('-')}.json"


def kernels_hash() -> str:
    """A hash of the source of Triton's kernels."""
    folder = Path(llmrt_kernels.__path__[0], "triton")
    digest = sha256()
    for file in sorted(folder.glob("*.py")):
        digest.update(f"{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def write_tuned(origin: Origin, tiles: dict[str, Numbers], replacing: Iterable[str]) -> Path:
    """Keep ``tiles`` in the place of all that is there for the names ``replacing``, and what is there for others.

    Raises ``ConfigError`` where the folder cannot be written.
    """
    path, again = tuned_path(origin.gpu), set(replacing)
    others = {name: numbers for name, numbers in _kept(path, origin).items() if name not in again}
    file = TunedFile(origin, others | tiles)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".tmp")
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(file)))
        fresh.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}. Make its folder writable.") from None
    return path


def _kept(path: Path, origin: Origin) -> dict[str, Numbers]:
    """What a file of the same origin holds already."""
    try:
        file = msgspec.json.decode(path.read_bytes(), type=TunedFile)
    except (OSError, msgspec.DecodeError):
        return {}
    return file.tiles if file.origin == origin else {}


def read_tuned(origin: Origin, candidates: Callable[[str], list[Numbers]]) -> tuple[dict[str, Numbers], str | None]:
    """The launch configurations of ``origin``'s GPU, and what to say of a file that is not used.

    A configuration must be one of the ``candidates`` for its name.
    """
    path = tuned_path(origin.gpu)
    try:
        file = msgspec.json.decode(path.read_bytes(), type=TunedFile)
    except FileNotFoundError:
        return {}, None
    except OSError as error:
        return {}, f"{path} cannot be read ({error.strerror}); {AGAIN}."
    except msgspec.DecodeError as error:
        return {}, f"{path} is not what `llmrt tune` writes ({error}); {AGAIN}."
    for field in ("gpu", "triton", "kernels"):
        measured, here = getattr(file.origin, field), getattr(origin, field)
        if measured != here:
            return {}, f"{path} was measured with {field} {measured}, and here is {here}; {AGAIN}."
    for name, numbers in file.tiles.items():
        if numbers not in candidates(name):
            return {}, f"{path} has {list(numbers)} for {name}, which is none of its candidates; {AGAIN}."
    return file.tiles, None
