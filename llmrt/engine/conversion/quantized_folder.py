"""A quantized model as a folder: packed weights, and beside them what its source keeps beside its weights.

What an alias says of sampling goes into the files too, for the folder has no alias.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from llmrt.config import EngineConfig
from llmrt.engine.loading.calibration_tokens import calibration_for
from llmrt.engine.loading.load_model import load_model, settle
from llmrt.engine.loading.packed_cache import origin_of, write_packed
from llmrt.engine.planning.settle import recipe_of
from llmrt.errors import ConfigError
from llmrt.hub.disk import disk_errors
from llmrt.model.checkpoints.checkpoint import Checkpoint
from llmrt.model.checkpoints.packed_header import PACKED_FILE
from llmrt.model.families.gguf_head import write_gguf_head
from llmrt.model.loading.load import Progress
from llmrt.presets import UNSAID, Sampling
from llmrt.text.generation_defaults import GENERATION_CONFIG, GGUF_DRAWING, unsaid_drawing
from llmrt.text.model_files import read_json

# Configuration, tokenizers and templates; the index of shards would name files that are not there.
_KEPT = ("*.json", "*.jinja", "tokenizer.model", "merges.txt", "LICENSE*")
_INDEX = ".safetensors.index.json"
HINT = "name another folder with --output"


def write_quantized(
    checkpoint: Checkpoint, output: Path, config: EngineConfig, progress: Progress, sampling: Sampling = UNSAID
) -> list[str]:
    """Write the folder ``output``, whole or not at all; returns what the person should know.

    ``sampling`` is for files that do not say how to draw.

    Raises ``DownloadError`` for a disk that is full or not writable, ``LlmrtError`` for a model that cannot be packed.
    """
    source = checkpoint.path
    assert source is not None
    config, notices = settle(checkpoint, replace(config, device="cpu"))  # what is packed is the same for every device
    recipe = recipe_of(config)
    if recipe is None:
        raise ConfigError(f"--quant auto leaves {source} as it is; use int8 or int4.")
    unsaid_drawing(source, sampling)  # files with wrong values are refused before anything is computed
    origin = origin_of(source, recipe, calibration_for(checkpoint, config.calibration))
    loaded = load_model(checkpoint, config, context_length=1, progress=progress, keep=False)
    with new_folder(output) as scratch:
        write_packed(scratch / PACKED_FILE, loaded.decoder, origin, hint=HINT)
        _copy_text_side(source, scratch, output.name, sampling)
    return [*notices, *loaded.notices]


@contextmanager
def new_folder(output: Path) -> Generator[Path]:
    """A folder to fill, which becomes ``output`` when it is. Raises ``DownloadError`` for what the disk refuses."""
    parent = output.absolute().parent
    with disk_errors(parent, hint=HINT):
        parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=parent, prefix=f".{output.name}."))
        try:
            yield scratch
            scratch.chmod(0o755)
            scratch.rename(output)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def keep_sampling(folder: Path, sampling: Sampling) -> None:
    """Write ``sampling`` where the files in ``folder`` do not say how to draw."""
    if drawing := unsaid_drawing(folder, sampling):
        config = {**read_json(folder / GENERATION_CONFIG), "do_sample": True, **drawing}
        (folder / GENERATION_CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def _copy_text_side(source: Path, output: Path, name: str, sampling: Sampling) -> None:
    if source.is_file():
        drawing = {GGUF_DRAWING[key]: value for key, value in unsaid_drawing(source, sampling).items()}
        write_gguf_head(source, output / f"{name}.gguf", drawing)
        return
    for path in sorted({path for pattern in _KEPT for path in source.glob(pattern)}):
        if not path.name.endswith(_INDEX) and path.is_file():
            shutil.copyfile(path, output / path.name)
    keep_sampling(output, sampling)
