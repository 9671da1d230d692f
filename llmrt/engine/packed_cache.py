"""Quantizing once: the packed weights are kept beside the model, and the next start maps them."""

from __future__ import annotations

from pathlib import Path

from llmrt.errors import CheckpointError, DownloadError
from llmrt.hub import store
from llmrt.hub.disk import disk_errors, require_space
from llmrt.hub.packed import packed_copy
from llmrt.model.checkpoint import Checkpoint
from llmrt.model.decoder import Decoder
from llmrt.model.load import Progress, load_decoder
from llmrt.model.packed_file import describe_decoder, map_decoder, packed_bytes, save_decoder
from llmrt.model.packed_header import read_header
from llmrt.model.source_identity import source_identity
from llmrt.ops.types import OpSpec
from llmrt.quant.recipe import Recipe

HINT = f"free some, or {store.HOME_HINT}"


def quantized_decoder(
    checkpoint: Checkpoint,
    recipe: Recipe,
    context_length: int,
    spec: OpSpec,
    progress: Progress,
    *,
    keep: bool,
) -> tuple[Decoder, list[str]]:
    """The decoder with its weights quantized by ``recipe``, from the copy beside the model where there is one.

    Else the weights are quantized and, with ``keep``, the copy is written. Returns what the person should know as well.
    """
    if checkpoint.path is None:  # random weights
        return load_decoder(checkpoint, context_length, spec, progress, recipe), []
    copy, source = packed_copy(checkpoint.path, recipe.name), source_identity(checkpoint.path)
    notices: list[str] = []
    if copy.exists():
        try:
            header = read_header(copy)
            if header.made_as(recipe, source):
                return map_decoder(copy, header, checkpoint.config, context_length, spec), notices
            notices.append(f"{copy} was made of other files or by another version; the weights are quantized anew.")
        except CheckpointError as error:
            notices.append(f"{error} The weights are quantized anew.")
    decoder = load_decoder(checkpoint, context_length, spec, progress, recipe)
    if keep:
        notices.append(_keep(copy, decoder, recipe, source, checkpoint.path))
    return decoder, notices


def write_packed(path: Path, decoder: Decoder, recipe: Recipe, source: str, source_path: Path) -> None:
    """Write the packed weights of ``decoder``. Raises ``DownloadError`` of one line if the disk does not take them."""
    header = describe_decoder(decoder, recipe, source, source_path)
    with disk_errors(path.parent, hint=HINT):
        path.parent.mkdir(parents=True, exist_ok=True)
        require_space(path.parent, packed_bytes(decoder, header), hint=HINT)
        save_decoder(path, decoder, header)


def _keep(copy: Path, decoder: Decoder, recipe: Recipe, source: str, source_path: Path) -> str:
    try:
        write_packed(copy, decoder, recipe, source, source_path)
    except DownloadError as error:
        return f"The quantized weights are not kept for the next start: {error}"
    return f"The quantized weights are kept in {copy}; the next start takes them from there."
