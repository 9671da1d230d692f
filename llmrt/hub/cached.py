"""A repository that another program, or an earlier pull, has left complete in the Hugging Face cache."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.utils import filter_repo_objects

from llmrt.errors import CheckpointError
from llmrt.hub import store
from llmrt.hub.local import check_weights
from llmrt.hub.repository import NEVER, record
from llmrt.hub.request import ModelRequest
from llmrt.text.gguf_parts import part_paths


def adopt_cached(request: ModelRequest) -> store.Manifest | None:
    """Record the cached copy of what is asked for, without the network; None unless it is complete."""
    known = try_to_load_from_cache(request.repository, request.gguf or "config.json", revision=request.revision)
    if not isinstance(known, str):
        return None
    path = Path(known)
    commit = path.parts[path.parts.index("snapshots") + 1]
    paths = part_paths(path) if request.gguf else _model_files(request, path.parent)
    return record(request, commit, paths) if paths and all(path.is_file() for path in paths) else None


def _model_files(request: ModelRequest, folder: Path) -> list[Path]:
    names = sorted(path.name for path in folder.iterdir())
    try:
        check_weights(folder)
    except CheckpointError:
        return []
    if not {"tokenizer.json", "tokenizer.model"} & set(names):
        return []
    wanted = filter_repo_objects(names, allow_patterns=list(request.files), ignore_patterns=list(NEVER))
    return [folder / name for name in wanted]
