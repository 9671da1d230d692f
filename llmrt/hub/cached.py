"""A repository that another program, or an earlier pull, has left complete in the Hugging Face cache."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from llmrt.errors import CheckpointError
from llmrt.hub import store
from llmrt.hub.layout import MISTRAL, PUBLISHED
from llmrt.hub.local import check_weights
from llmrt.hub.repository import CacheFolder, named_ggufs, record, wanted_names
from llmrt.hub.request import ModelRequest
from llmrt.text.gguf_parts import part_paths
from llmrt.text.load_tokenizer import TOKENIZER_FILES


def adopt_cached(request: ModelRequest) -> store.Manifest | None:
    """Record the cached copy of what is asked for, without the network; None unless it is complete."""
    tried = [try_to_load_from_cache(request.repository, mark, revision=request.revision) for mark in _marks(request)]
    known = [Path(path) for path in tried if isinstance(path, str)]
    if not known or (request.gguf and len(known) > 1):
        return None
    path = known[0]
    commit = path.parts[path.parts.index("snapshots") + 1]
    paths = part_paths(path) if request.gguf else _model_files(request, path.parent)
    return record(request, commit, paths) if paths and all(path.is_file() for path in paths) else None


def _marks(request: ModelRequest) -> list[str]:
    """The files that tell by being there that a model may be."""
    if request.gguf is None:
        return [PUBLISHED.config, MISTRAL.config]
    return named_ggufs(request.gguf, CacheFolder(request.repository).ggufs)


def _model_files(request: ModelRequest, folder: Path) -> list[Path]:
    names = sorted(path.name for path in folder.iterdir())
    try:
        check_weights(folder)
    except CheckpointError:
        return []
    if not set(TOKENIZER_FILES) & set(names):
        return []
    return [folder / name for name in wanted_names(names, request.files)]
