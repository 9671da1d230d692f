"""The manifests, and taking models away again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants, scan_cache_dir

from llmrt.errors import CheckpointError, ConfigError, DownloadError, ModelNotFoundError
from llmrt.hub import store
from llmrt.hub.local import local_artifact
from llmrt.hub.remove import pulled, remove, sharers
from llmrt.hub.sources import resolve
from tests.hub.conftest import Serve
from tests.hub.samples import REPO, tiny_repo


def manifest(name: str, folder: Path) -> store.Manifest:
    file = store.StoredFile(name="m.gguf", size=3, sha256="0" * 64)
    return store.Manifest(
        name=name,
        source="wheel",
        origin="package",
        revision="1",
        commit="1",
        path=str(folder / "m.gguf"),
        folder=str(folder),
        files=(file,),
        pulled_at=store.now(),
    )


@pytest.mark.parametrize("name", ["mistral-7b", "llama-3.1-8b", "org/Name_1.5-x", "org/name:sub/file.Q4_K_M.gguf"])
def test_what_is_saved_is_loaded(tmp_path: Path, name: str) -> None:
    saved = manifest(name, tmp_path)
    store.save(saved)
    assert store.load(name) == saved
    assert store.load_all() == [saved]
    store.forget(name)
    assert store.load(name) is None


@pytest.mark.parametrize(
    "name", ["..", "../x", "/etc/passwd", "a/../b", "a/b/c", ".hidden", "a\0b", "a/b:../x.gguf", ""]
)
def test_a_name_cannot_leave_the_store(name: str, tmp_path: Path) -> None:
    for action in (store.load, store.forget, lambda name: store.save(manifest(name, tmp_path))):
        with pytest.raises(ModelNotFoundError, match="is not a model name"):
            action(name)


def test_a_manifest_that_cannot_be_read_is_named() -> None:
    path = store.home() / "manifests" / "mistral-7b.json"
    path.parent.mkdir(parents=True)
    for text in ("{", '{"name": "mistral-7b"}', '{"name": 5}'):
        path.write_text(text)
        with pytest.raises(ConfigError, match=rf"{path}: .*pull the model again"):
            store.load("mistral-7b")


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(DownloadError, match="LLMRT_HOME"):
        store.save(manifest("mistral-7b", tmp_path))


def test_missing_and_truncated_files_are_found(tmp_path: Path) -> None:
    it = manifest("mistral-7b", tmp_path)
    assert it.missing_file() == str(tmp_path / "m.gguf")
    (tmp_path / "m.gguf").write_bytes(b"ab")
    assert it.missing_file() == str(tmp_path / "m.gguf")
    (tmp_path / "m.gguf").write_bytes(b"abc")
    assert it.missing_file() is None


def test_removing_a_model_empties_the_cache(serve: Serve, said: list[str]) -> None:
    serve({REPO: tiny_repo(), "org/other": tiny_repo(**{"tokenizer.json": b"[]"})})
    resolve(REPO, report=said.append)
    resolve("org/other", report=said.append)
    remove(pulled(REPO))
    assert [repo.repo_id for repo in scan_cache_dir(constants.HF_HUB_CACHE).repos] == ["org/other"]
    assert [it.name for it in store.load_all()] == ["org/other"]
    with pytest.raises(ModelNotFoundError, match="pulled models: org/other"):
        pulled(REPO)


def test_removing_one_of_two_names_keeps_the_files(serve: Serve, said: list[str]) -> None:
    serve({REPO: {"a.gguf": b"a", "b.gguf": b"b"}})
    first, second = f"{REPO}:a.gguf", f"{REPO}:b.gguf"
    resolve(first, report=said.append)
    kept = resolve(second, report=said.append)
    assert sharers(pulled(first)) == [second]
    remove(pulled(first))
    assert kept.path.read_bytes() == b"b"
    remove(pulled(second))
    assert not kept.path.exists()


def test_a_model_whose_files_are_gone_can_be_removed(serve: Serve, said: list[str], tmp_path: Path) -> None:
    store.save(manifest("mistral-7b", tmp_path / "gone"))
    remove(pulled("mistral-7b"))
    assert store.load_all() == []


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems have no such names")
def test_a_file_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xf6del.gguf"))
    path.touch()
    with pytest.raises(CheckpointError, match=r"m\\xf6del.gguf is no text"):
        local_artifact(str(path))
