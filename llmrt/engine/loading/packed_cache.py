"""Quantizing once: the packed weights are kept beside the model, and the next start maps them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmrt.engine.loading.calibration_tokens import calibration_for
from llmrt.errors import CheckpointError, DownloadError
from llmrt.hub import store
from llmrt.hub.disk import disk_errors, require_space
from llmrt.hub.packed import packed_copy
from llmrt.model.checkpoints.checkpoint import Checkpoint
from llmrt.model.checkpoints.packed_header import Origin, read_header
from llmrt.model.checkpoints.source_identity import source_identity
from llmrt.model.config import ModelConfig
from llmrt.model.loading.load import Progress, load_decoder
from llmrt.model.loading.packed_file import describe_decoder, map_decoder, packed_bytes, save_decoder
from llmrt.model.modules.decoder import Decoder
from llmrt.ops.types import OpSpec
from llmrt.quant.calibration import Calibration
from llmrt.quant.recipe import Recipe

HINT = f"free some, or {store.HOME_HINT}"


def quantized_decoder(
    checkpoint: Checkpoint,
    recipe: Recipe,
    token_ids: Sequence[int] | None,
    context_length: int,
    spec: OpSpec,
    progress: Progress,
    *,
    keep: bool,
) -> tuple[Decoder, list[str]]:
    """The decoder with its weights quantized by ``recipe``, from a copy beside the model where there is one.

    They are rounded for ``token_ids`` of a text, None for random ones; each text has a copy of its own. Where there is
    none, the weights are quantized and, with ``keep``, it is written. Returns what the person should know as well.
    """
    assert checkpoint.path is not None
    calibration = calibration_for(checkpoint, token_ids)
    origin = origin_of(checkpoint.path, recipe, calibration)
    variant = recipe.name if token_ids is None else f"{recipe.name}-{origin.calibration}"
    copy = packed_copy(checkpoint.path, variant)
    notices: list[str] = []
    if copy.exists():
        kept = _kept(copy, origin, checkpoint.config, context_length, spec)
        if isinstance(kept, Decoder):
            return kept, notices
        notices.append(f"{kept} The weights are quantized anew.")
    decoder = load_decoder(checkpoint, context_length, spec, progress, recipe, calibration)
    if keep:
        notices.append(_keep(copy, decoder, origin))
    return decoder, notices


def origin_of(model: Path, recipe: Recipe, calibration: Calibration) -> Origin:
    """What weights follow from that are quantized now. Raises ``CheckpointError`` for files that are not there."""
    return Origin(recipe=recipe, calibration=calibration.identity, source=source_identity(model), source_path=model)


def write_packed(path: Path, decoder: Decoder, origin: Origin, *, hint: str = HINT) -> None:
    """Write the packed weights of ``decoder``.

    Raises ``DownloadError`` of one line, which ends with ``hint``, if the disk does not take them.
    """
    header = describe_decoder(decoder, origin)
    with disk_errors(path.parent, hint=hint):
        path.parent.mkdir(parents=True, exist_ok=True)
        require_space(path.parent, packed_bytes(decoder), hint=hint)
        save_decoder(path, decoder, header)


def _kept(copy: Path, origin: Origin, config: ModelConfig, context_length: int, spec: OpSpec) -> Decoder | str:
    """The decoder in ``copy``, or why it does not serve."""
    try:
        header = read_header(copy)
        if header.made_as(origin):
            return map_decoder(copy, header, config, context_length, spec)
    except CheckpointError as error:
        return str(error)
    return f"{copy} was made of other files or by another version."


def _keep(copy: Path, decoder: Decoder, origin: Origin) -> str:
    try:
        write_packed(copy, decoder, origin)
    except DownloadError as error:
        return f"The quantized weights are not kept for the next start: {error}"
    return f"The quantized weights are kept in {copy}; the next start takes them from there."
