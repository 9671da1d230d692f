"""Models that are on this disk already: a folder in Hugging Face's layout, or a GGUF file."""

from __future__ import annotations

from pathlib import Path

from llmrt.errors import CheckpointError, ConfigError, ModelNotFoundError
from llmrt.hub.artifact import ModelArtifact
from llmrt.hub.layout import layout_of
from llmrt.hub.paths import check_file, check_files, check_name, is_there
from llmrt.text.gguf_parts import first_parts, part_paths
from llmrt.text.json_text import parse_json

PICKLE_REFUSAL = (
    "only pickled weights (.bin, .pt), which run code when they are opened and are refused; "
    "use a safetensors or GGUF version of the model"
)
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")


def local_artifact(model: str, revision: str | None = None) -> ModelArtifact | None:
    """The folder or file at ``model``; None when there is none and it may be a name instead.

    Raises ModelNotFoundError for a missing path that can be nothing else, CheckpointError for a folder or
    file that is not a model, or has a name that is no text, and ConfigError for a ``revision`` of one.
    """
    if not model:  # Path("") would be the current folder
        return None
    path = Path(model).expanduser()
    if is_there(path):
        check_name(path.absolute())
        if revision is not None:
            raise ConfigError(f"--revision {revision} has no meaning for the local path {model}")
    if path.is_dir():
        return _folder_artifact(model, path.absolute())
    if path.is_file():
        return _file_artifact(model, path.absolute())
    check_file(path)
    if model.startswith((".", "/", "~")) or (model.endswith(".gguf") and ":" not in model):
        raise ModelNotFoundError(f"there is no folder or file {model}")
    return None


def check_weights(folder: Path) -> None:
    """Raise CheckpointError unless ``folder`` has a configuration and all of its safetensors."""
    layout = layout_of(folder)
    if (folder / "adapter_config.json").is_file() and not (folder / layout.config).is_file():
        raise CheckpointError(f"{folder} is a LoRA adapter; name the model that it is for, and this with --lora")
    if not is_there(folder / layout.config):
        raise CheckpointError(f"{folder} has no {layout.config} and no GGUF file: it is not a model")
    if (folder / layout.index).is_file():
        _check_shards(folder / layout.index)
    elif not any(folder.glob("*.safetensors")):
        pickled = any(path.suffix in PICKLE_SUFFIXES for path in folder.iterdir())
        raise CheckpointError(
            f"{folder} has "
            + (PICKLE_REFUSAL if pickled else "no safetensors and no GGUF file: its weights are missing")
        )


def _check_shards(index: Path) -> None:
    try:
        shards = set(parse_json(index.read_bytes())["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} has no readable weight_map") from error
    for shard in sorted(shards):
        if not (index.parent / shard).is_file():
            raise CheckpointError(f"{index.parent / shard} is missing; {index.name} names it")


def _folder_artifact(model: str, folder: Path) -> ModelArtifact:
    check_files(folder)
    ggufs = first_parts(path.name for path in folder.glob("*.gguf"))
    if ggufs and not (folder / layout_of(folder).config).is_file():
        if len(ggufs) > 1:
            raise CheckpointError(f"{folder} holds several GGUF files, name one of them: {', '.join(ggufs)}")
        return _file_artifact(model, folder / ggufs[0])
    check_weights(folder)
    return ModelArtifact(model, folder, "folder", "local folder")


def _file_artifact(model: str, path: Path) -> ModelArtifact:
    if path.suffix != ".gguf" and _begins_as_gguf(path):
        raise CheckpointError(f"{path} is a GGUF file; rename it, or a link to it, so that its name ends in .gguf")
    if path.suffix in PICKLE_SUFFIXES:
        raise CheckpointError(f"{path} holds {PICKLE_REFUSAL}")
    if path.suffix != ".gguf":
        raise CheckpointError(f"{path} is not a GGUF file; name a .gguf file or a folder with config.json")
    return ModelArtifact(model, part_paths(path)[0], "file", "local file")


def _begins_as_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    except OSError:
        return False
