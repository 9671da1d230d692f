"""Pulling from a hub: what is fetched, where it lies, and that the second use needs no network."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path

import pytest
from huggingface_hub import constants, hf_hub_download, snapshot_download

from llmrt.errors import CheckpointError, ConfigError, ModelNotFoundError
from llmrt.hub import store
from llmrt.hub.local import check_weights
from llmrt.hub.sources import resolve
from tests.hub.conftest import Serve
from tests.hub.samples import CONFIG, REPO, WEIGHTS, tiny_gguf, tiny_repo


def test_a_repository_is_pulled_whole_and_checked(serve: Serve, said: list[str]) -> None:
    hub = serve({REPO: tiny_repo()})
    artifact = resolve(REPO, report=said.append)
    assert (artifact.name, artifact.source) == (REPO, "hub")
    assert {path.name: path.read_bytes() for path in artifact.path.iterdir()} == hub.repos[REPO]
    assert hub.commit(REPO)[:12] in artifact.detail
    assert said[-1] == f"using {REPO}: {artifact.detail}, {artifact.path}"


def test_the_manifest_has_every_file_with_size_and_checksum(serve: Serve, said: list[str]) -> None:
    hub = serve({REPO: tiny_repo()})
    resolve(REPO, report=said.append)
    manifest = store.load(REPO)
    assert manifest is not None
    assert {(file.name, file.size, file.sha256) for file in manifest.files} == {
        (name, len(data), hashlib.sha256(data).hexdigest()) for name, data in hub.repos[REPO].items()
    }
    assert (manifest.origin, manifest.revision, manifest.commit) == (REPO, "main", hub.commit(REPO))


def test_the_second_use_asks_nothing_of_the_network(serve: Serve, said: list[str]) -> None:
    hub = serve({REPO: tiny_repo()})
    first = resolve(REPO, report=said.append)
    asked = len(hub.seen)
    assert resolve(REPO, report=said.append) == first
    assert len(hub.seen) == asked


def test_an_alias_is_pulled_by_its_own_patterns(serve: Serve, said: list[str]) -> None:
    repo = "mistralai/Mistral-7B-Instruct-v0.3"
    serve({repo: tiny_repo(**{"tokenizer.model": b"sp", "merges.txt": b"x"})})
    artifact = resolve("mistral-7b", report=said.append)
    assert artifact.name == "mistral-7b"
    assert (artifact.path / "tokenizer.model").exists()
    assert not (artifact.path / "merges.txt").exists()


def test_duplicates_and_pickles_are_left_where_they_are(serve: Serve, said: list[str]) -> None:
    unwanted = (
        "pytorch_model.bin",
        "consolidated.safetensors",
        "original/params.json",
        "onnx/config.json",
        "README.md",
    )
    hub = serve({REPO: tiny_repo(**dict.fromkeys(unwanted, b"x"))})
    artifact = resolve(REPO, report=said.append)
    assert sorted(path.name for path in artifact.path.iterdir()) == sorted(tiny_repo())
    assert not [seen for seen in hub.seen if seen.path.endswith(unwanted)]


def test_a_repository_in_mistrals_layout_alone_is_pulled_in_it(serve: Serve, said: list[str]) -> None:
    files = {"params.json": b"{}", "consolidated.safetensors": WEIGHTS, "tokenizer.model": b"sp"}
    serve({REPO: {**files, "README.md": b"x"}})
    artifact = resolve(REPO, report=said.append)
    assert sorted(path.name for path in artifact.path.iterdir()) == sorted(files)
    check_weights(artifact.path)


def test_a_repository_of_pickles_alone_is_refused(serve: Serve, said: list[str]) -> None:
    hub = serve({REPO: {"config.json": b"{}", "pytorch_model.bin": b"x"}})
    with pytest.raises(CheckpointError, match=r"run code.*safetensors or GGUF"):
        resolve(REPO, report=said.append)
    assert not hub.downloads("pytorch_model.bin")


@pytest.mark.parametrize("wanted", [REPO, f"{REPO}:only.gguf"])
def test_a_gguf_repository_gives_the_file(serve: Serve, said: list[str], tmp_path: Path, wanted: str) -> None:
    data = tiny_gguf(tmp_path / "x.gguf")
    serve({REPO: {"only.gguf": data, "README.md": b"hello"}})
    artifact = resolve(wanted, report=said.append)
    assert artifact.path.name == "only.gguf"
    assert artifact.path.read_bytes() == data


@pytest.mark.parametrize("wanted", [REPO, f"{REPO}:m-00001-of-00002.gguf", f"{REPO}:m-00002-of-00002.gguf"])
def test_all_parts_of_a_gguf_model_are_pulled(serve: Serve, said: list[str], wanted: str) -> None:
    parts = {f"m-0000{i}-of-00002.gguf": bytes([i]) for i in (1, 2)}
    serve({REPO: {"README.md": b"hello", **parts}})
    artifact = resolve(wanted, report=said.append)
    assert {path.name: path.read_bytes() for path in artifact.path.parent.glob("*.gguf")} == parts
    assert artifact.path.name == "m-00001-of-00002.gguf"


def test_a_repository_that_lacks_a_part_is_refused(serve: Serve, said: list[str]) -> None:
    serve({REPO: {"m-00001-of-00003.gguf": b"a", "m-00003-of-00003.gguf": b"c"}})
    with pytest.raises(CheckpointError, match=r"lacks m-00002-of-00003\.gguf, one of the 3 parts"):
        resolve(REPO, report=said.append)


def test_one_of_several_gguf_files_must_be_named(serve: Serve, said: list[str]) -> None:
    serve({REPO: {"a.gguf": b"a", "b.gguf": b"b", "sub/c.gguf": b"c"}})
    with pytest.raises(CheckpointError, match=r"a\.gguf, b\.gguf, sub/c\.gguf"):
        resolve(REPO, report=said.append)
    with pytest.raises(CheckpointError, match=r"no file d\.gguf.*a\.gguf"):
        resolve(f"{REPO}:d.gguf", report=said.append)
    artifact = resolve(f"{REPO}:sub/c.gguf", report=said.append)
    assert artifact.path.read_bytes() == b"c"
    manifest = store.load(f"{REPO}:sub/c.gguf")
    assert manifest is not None
    assert [file.name for file in manifest.files] == ["sub/c.gguf"]


@pytest.mark.parametrize("kind", ["Q4_K_M", "q8_0", "UD-Q4_K_XL"])
def test_a_gguf_file_can_be_named_by_its_type(serve: Serve, said: list[str], kind: str) -> None:
    parts = [f"q8_0/m-q8_0-0000{part}-of-00002.gguf" for part in (1, 2)]
    names = ["m-Q4_K_M.gguf", "m-IQ4_K_M.gguf", "m-UD-Q4_K_XL.gguf", *parts]
    serve({REPO: {name: name.encode() for name in names}})
    artifact = resolve(f"{REPO}:{kind}", report=said.append)
    chosen = [name for name in names if f"m-{kind}" in name]
    assert artifact.path.read_bytes() == chosen[0].encode()
    manifest = store.load(f"{REPO}:{kind}")
    assert manifest is not None and [file.name for file in manifest.files] == chosen


def test_a_type_finds_a_file_of_the_cache_without_the_hub(serve: Serve, said: list[str], monkeypatch) -> None:
    serve({REPO: {"sub/m-Q4_K_M.gguf": b"q4", "m-Q8_0.gguf": b"q8", "n-Q8_0.gguf": b"q8"}})
    theirs = Path(snapshot_download(REPO), "sub", "m-Q4_K_M.gguf")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert resolve(f"{REPO}:Q4_K_M", report=said.append).path == theirs
    with pytest.raises(Exception, match="HF_HUB_OFFLINE is set"):
        resolve(f"{REPO}:Q8_0", report=said.append)


def test_a_type_of_no_file_or_of_several_is_refused(serve: Serve, said: list[str]) -> None:
    serve({REPO: {"a-Q4_0.gguf": b"a", "b-Q4_0.gguf": b"b"}})
    several, none = "several files of type Q4_0", "no file Q4"
    for kind, problem in (("Q4_0", several), ("Q4", f"{none};"), ("Q4_0.gguf", rf"{none}_0\.gguf;")):
        with pytest.raises(CheckpointError, match=rf"{problem}.*a-Q4_0\.gguf, b-Q4_0\.gguf"):
            resolve(f"{REPO}:{kind}", report=said.append)


def test_a_revision_can_be_pinned(serve: Serve, said: list[str], tmp_path: Path) -> None:
    hub = serve({REPO: tiny_repo()})
    commit = hub.commit(REPO)
    assert resolve(REPO, revision=commit, report=said.append).path.name == commit
    with pytest.raises(ModelNotFoundError, match=r"no revision 'nope'; check --revision"):
        resolve(REPO, revision="nope", report=said.append)
    tiny_gguf(tmp_path / "m.gguf")
    with pytest.raises(ConfigError, match="--revision"):
        resolve(str(tmp_path / "m.gguf"), revision="main", report=said.append)


def test_the_cache_is_shared_both_ways(serve: Serve, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    hub = serve({REPO: tiny_repo(), "org/other": tiny_repo()})
    path = resolve(REPO, report=said.append).path
    assert hf_hub_download(REPO, "model.safetensors", local_files_only=True) == str(path / "model.safetensors")
    theirs = snapshot_download("org/other")
    asked = len(hub.seen)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert str(resolve("org/other", report=said.append).path) == theirs
    assert "HF_HUB_OFFLINE is set" in said[-2]
    assert len(hub.seen) == asked


@pytest.mark.parametrize("lost", ["model.safetensors", "config.json", "tokenizer.json"])
def test_an_incomplete_copy_in_the_cache_is_not_used(serve: Serve, said: list[str], monkeypatch, lost: str) -> None:
    serve({REPO: tiny_repo()})
    Path(snapshot_download(REPO), lost).unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Exception, match="HF_HUB_OFFLINE is set"):
        resolve(REPO, report=said.append)


def test_a_shard_that_the_index_names_must_be_in_the_cache(serve: Serve, said: list[str], monkeypatch) -> None:
    index = json.dumps({"weight_map": {"a": "model.safetensors", "b": "gone.safetensors"}}).encode()
    serve({REPO: tiny_repo(**{"model.safetensors.index.json": index})})
    snapshot_download(REPO)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Exception, match="HF_HUB_OFFLINE is set"):
        resolve(REPO, report=said.append)


def test_files_that_are_gone_are_noticed_and_fetched_again(serve: Serve, said: list[str]) -> None:
    hub = serve({REPO: tiny_repo()})
    weights = resolve(REPO, report=said.append).path / "model.safetensors"
    weights.resolve().unlink()
    said.clear()
    resolve(REPO, report=said.append)
    assert str(weights) in said[0]
    assert weights.read_bytes() == WEIGHTS
    assert len(hub.downloads("config.json")) == 1


def test_two_pulls_at_once_download_once(serve: Serve) -> None:
    hub = serve({REPO: tiny_repo()})
    threads = [threading.Thread(target=resolve, args=(REPO,), kwargs={"report": lambda _: None}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    manifest = store.load(REPO)
    assert manifest is not None
    assert manifest.missing_file() is None
    assert len([seen for seen in hub.downloads("model.safetensors") if "/cdn/" in seen.path]) == 1


def test_local_paths_come_first(tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mistral-7b"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "model.safetensors").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    artifact = resolve("mistral-7b", report=said.append)
    assert (artifact.path, artifact.source) == (folder, "folder")
    tiny_gguf(tmp_path / "m.gguf")
    assert resolve("m.gguf", report=said.append).source == "file"


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "no config.json and no GGUF"),
        ({"config.json": "{}"}, "no safetensors"),
        ({"config.json": "{}", "pytorch_model.bin": "x"}, "run code"),
        ({"a.gguf": "x", "b.gguf": "x"}, "several GGUF files"),
        ({"adapter_config.json": "{}", "adapter_model.safetensors": "x"}, "LoRA adapter.*--lora"),
        ({"config.json": "{}", "model.safetensors.index.json": "{"}, "no readable weight_map"),
        ({"config.json": "{}", "model.safetensors.index.json": '{"weight_map": {"w": "s"}}'}, "s is missing"),
    ],
)
def test_a_folder_that_is_no_model_says_why(tmp_path: Path, said: list[str], files, problem: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(CheckpointError, match=problem):
        resolve(str(tmp_path), report=said.append)


@pytest.mark.parametrize(
    "name",
    ["config.json", "chat_template.jinja", "additional_chat_templates/rag.jinja", "model.safetensors", "a.gguf"],
)
def test_what_only_has_a_files_name_is_not_opened(tmp_path: Path, said: list[str], name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / name)  # to open it is to wait for who writes
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(CheckpointError, match=rf"/{name} is no file but a pipe"):
            resolve(str(path), report=said.append)


def test_a_gguf_file_of_another_name_is_to_be_renamed(tmp_path: Path, said: list[str]) -> None:
    for name in ("sha256-0123", "model.bin"):
        tiny_gguf(tmp_path / name)
        with pytest.raises(CheckpointError, match=r"its name ends in \.gguf"):
            resolve(str(tmp_path / name), report=said.append)


@pytest.mark.parametrize("name", ["weights.bin", "weights.onnx"])
def test_a_file_that_is_no_model_says_why(tmp_path: Path, said: list[str], name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"run code|not a GGUF file"):
        resolve(str(tmp_path / name), report=said.append)


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ("mistral-7", "did you mean mistral-7b?"),
        ("../up", "no folder or file"),
        ("org/..", "is called"),
        ("org/../../etc", "is called"),
        ("a/b:../c.gguf", "is called"),
        ("a/b:/etc/x.gguf", "is called"),
        ("a/b:c.bin", "is called"),
        ("org/na--me", "is called"),
        ("org/name ", "is called"),
        ("", "is called"),
        ("nothing.gguf", "no folder or file nothing.gguf"),
        ("hf.co/org/name:Q4_K_M", r"did you mean org/name:Q4_K_M\?"),
        ("https://huggingface.co/org/name", r"did you mean org/name\?"),
        ("https://huggingface.co/org/name/tree/main", r"did you mean org/name\?"),
        ("https://huggingface.co/org/name/resolve/main/a.gguf?download=true", r"did you mean org/name:a.gguf\?"),
    ],
)
def test_names_that_cannot_be(model: str, hint: str, said: list[str]) -> None:
    with pytest.raises(ModelNotFoundError, match=hint):
        resolve(model, report=said.append)
