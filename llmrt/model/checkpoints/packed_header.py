"""What a file of packed weights says of itself. Free of torch.

The file is a safetensors file like any other, its tensors aligned for the kernels. ``__metadata__`` has one entry,
``llmrt``, a JSON object with the fields of ``PackedHeader``; tensors are named after the decoder's parameters:

    layers.0.attention.qkv.0.data  layers.0.attention.qkv.0.scales    piece 0 of a packed matrix
    layers.0.attention.qkv.0.offsets                                  if it is affine
    layers.0.attention_norm.weight                                    what is not quantized
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmrt.errors import CheckpointError
from llmrt.quant.recipe import Recipe

# To be raised when the packed layout, or what the quantizer computes, changes: older files are then made anew.
FORMAT = 2
METADATA_KEY = "llmrt"
# In a folder that `llmrt quantize` wrote; beside a GGUF file's metadata likewise.
PACKED_FILE = "packed.safetensors"
_LARGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class PieceShape:
    """A piece of a packed matrix: consecutive ``rows`` of one scheme."""

    rows: int
    columns: int
    bits: int
    group: int
    affine: bool = False


@dataclass(frozen=True, kw_only=True)
class Origin:
    """All that packed weights depend on: ``calibration`` and ``source`` identify the tokens and the files."""

    recipe: Recipe
    calibration: str
    source: str
    source_path: Path


@dataclass(frozen=True, kw_only=True)
class PackedHeader:
    """``recipe`` is how it was quantized, in full, and ``calibration`` identifies the tokens that it was rounded for.

    ``source`` identifies the files that it was made of, ``source_path`` is where those were. ``modules`` has the pieces
    of every packed matrix but a head that is the embedding table.
    """

    format: int
    quant: str
    recipe: Recipe
    calibration: str
    source: str
    source_path: str
    modules: dict[str, list[PieceShape]]

    def made_as(self, origin: Origin) -> bool:
        """Whether quantizing what ``origin`` names would give this again, wherever the files are."""
        made = (self.format, self.recipe, self.calibration, self.source)
        return made == (FORMAT, origin.recipe, origin.calibration, origin.source)


def packed_file(model: Path) -> Path | None:
    """The packed weights of the model at ``model`` if `llmrt quantize` wrote it, else None."""
    path = (model if model.is_dir() else model.parent) / PACKED_FILE
    return path if path.is_file() and (model.is_dir() or model.suffix == ".gguf") else None


def read_header(path: Path) -> PackedHeader:
    """Read a file's own description and check that the file is whole.

    Raises ``CheckpointError`` for a file that is missing, truncated, or not one that llmrt packed.
    """
    import msgspec

    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            raw = file.read(min(size, _LARGEST_HEADER))
        entries = msgspec.json.decode(raw, type=dict[str, Any])
        described = entries.pop("__metadata__")[METADATA_KEY]
        end = 8 + size + max(entry["data_offsets"][1] for entry in entries.values())
        header = msgspec.json.decode(described, type=PackedHeader)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    except (msgspec.MsgspecError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is truncated or was not written by this version of llmrt.") from error
    if path.stat().st_size != end:
        raise CheckpointError(f"{path} has {path.stat().st_size} bytes, but its header describes {end}.")
    return header
