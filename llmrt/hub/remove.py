"""Taking a pulled model off this disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from llmrt.errors import ModelNotFoundError
from llmrt.hub import store
from llmrt.hub.disk import disk_errors
from llmrt.hub.packed import remove_copies
from llmrt.hub.prompts import remove_prompts


def pulled(name: str) -> store.Manifest:
    """The manifest of a pulled model. Raises ModelNotFoundError when there is none."""
    manifest = store.load(name)
    if manifest is None:
        names = ", ".join(manifest.name for manifest in store.load_all()) or "none"
        raise ModelNotFoundError(f"{name} is not pulled; pulled models: {names}")
    return manifest


def sharers(manifest: store.Manifest) -> list[str]:
    """Other pulled models whose files lie in the same folder, and which therefore keep it."""
    return [other.name for other in store.load_all() if other.folder == manifest.folder and other.name != manifest.name]


def remove(manifest: store.Manifest) -> None:
    """Delete the files of a pulled model, unless another one shares them, and forget it."""
    with disk_errors(Path(manifest.folder), hint="check its permissions"):
        remove_copies(Path(manifest.path))
        remove_prompts(Path(manifest.path))
    if not sharers(manifest):
        folder = Path(manifest.folder)
        with disk_errors(folder, hint="check its permissions"):
            if manifest.source == "hub":
                _remove_revision(folder, manifest.commit)
            else:
                shutil.rmtree(folder, ignore_errors=not folder.exists())
    store.forget(manifest.name)


def _remove_revision(snapshot: Path, commit: str) -> None:
    """Through the library, since other revisions may share the blobs."""
    if not snapshot.exists():
        return
    from huggingface_hub import scan_cache_dir

    cache = snapshot.parents[2]  # cache/models--org--name/snapshots/commit
    scan_cache_dir(cache).delete_revisions(commit).execute()
