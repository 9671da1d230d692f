"""Pulling over a bad network, from a closed repository, onto a full disk."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections import namedtuple
from pathlib import Path

import pytest
from huggingface_hub import constants

from llmrt.errors import CheckpointError, DownloadError, ModelNotFoundError
from llmrt.hub import download, reach, store
from llmrt.hub.reach import PROBE_SECONDS
from llmrt.hub.sources import resolve
from tests.hub.conftest import Serve
from tests.hub.samples import REPO, WEIGHTS, tiny_repo

FILE = "model.safetensors"
SHA = hashlib.sha256(WEIGHTS).hexdigest()


def blobs() -> Path:
    return Path(constants.HF_HUB_CACHE, "models--org--tiny", "blobs")


def starts(hub) -> list[int]:
    """Where each download of the weights began."""
    ranges = [seen.range for seen in hub.downloads(FILE) if "/cdn/" in seen.path]
    return [int(text.removeprefix("bytes=").rstrip("-")) if text else 0 for text in ranges]


def test_a_connection_that_breaks_is_resumed_where_it_broke(serve: Serve, said: list[str]) -> None:
    hub = serve({REPO: tiny_repo()})
    hub.faults.cut[FILE] = [1_500_000, 1_500_000]
    artifact = resolve(REPO, report=said.append)
    assert (artifact.path / FILE).read_bytes() == WEIGHTS
    first, second, third = starts(hub)
    assert 0 == first < second < third
    assert sum("resuming at byte" in line for line in said) == 2


def test_a_pull_that_failed_is_resumed_by_the_next_one(serve: Serve, said: list[str]) -> None:
    hub = serve({REPO: tiny_repo()})
    hub.faults.cut[FILE] = [2_000_000] + [0] * download.MAX_BREAKS
    with pytest.raises(DownloadError, match=r"connection to .* broke .*run the command again to resume"):
        resolve(REPO, report=said.append)
    assert not (blobs() / SHA).exists()
    assert store.load(REPO) is None
    kept = (blobs() / f"{SHA}.incomplete").stat().st_size
    assert kept > 0
    artifact = resolve(REPO, report=said.append)
    assert any(line.startswith("resuming, ") and "of 3.5 MB are here already" in line for line in said)
    assert starts(hub)[-1] == kept
    assert (artifact.path / FILE).read_bytes() == WEIGHTS
    assert not list(blobs().glob("*.incomplete"))


def test_a_server_that_stumbles_is_asked_again(serve: Serve, said: list[str]) -> None:
    hub = serve({REPO: tiny_repo()})
    hub.faults.errors[FILE] = [500, 503]
    assert (resolve(REPO, report=said.append).path / FILE).read_bytes() == WEIGHTS


def test_a_server_that_keeps_failing_is_given_up(serve: Serve, said: list[str]) -> None:
    hub = serve({REPO: tiny_repo()})
    hub.faults.errors[FILE] = [502] * 20
    with pytest.raises(DownloadError, match=f"answered 502 for {REPO}"):
        resolve(REPO, report=said.append)


def test_a_server_without_range_sends_the_file_anew(serve: Serve, said: list[str]) -> None:
    hub = serve({REPO: tiny_repo()})
    hub.faults.no_range = True
    hub.faults.cut[FILE] = [1_500_000]
    artifact = resolve(REPO, report=said.append)
    assert (artifact.path / FILE).read_bytes() == WEIGHTS


@pytest.mark.parametrize("name", [FILE, "tokenizer.json"])
def test_wrong_bytes_are_noticed_and_deleted(serve: Serve, said: list[str], name: str) -> None:
    hub = serve({REPO: tiny_repo()})
    hub.faults.corrupt.add(name)
    with pytest.raises(DownloadError, match=rf"{name} of {REPO} arrived damaged.*checksum"):
        resolve(REPO, report=said.append)
    assert store.load(REPO) is None
    assert not list(blobs().glob("*.incomplete"))
    assert not (blobs() / SHA).exists() or name != FILE
    hub.faults.corrupt.clear()
    assert (resolve(REPO, report=said.append).path / name).read_bytes() == hub.repos[REPO][name]


@pytest.mark.parametrize("token", [None, "hf_without_access"])
def test_a_gated_repository_names_the_page_and_the_token(serve: Serve, said: list[str], monkeypatch, token) -> None:
    hub = serve({REPO: tiny_repo()})
    hub.faults.gated.add(REPO)
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(DownloadError, match=rf"gated: accept its licence at https://huggingface.co/{REPO}.*HF_TOKEN"):
        resolve(REPO, report=said.append)


def test_the_token_opens_the_gate_and_stays_at_the_hub(serve: Serve, said: list[str], monkeypatch) -> None:
    hub = serve({REPO: tiny_repo()})
    hub.faults.gated.add(REPO)
    monkeypatch.setenv("HF_TOKEN", hub.TOKEN)
    resolve(REPO, report=said.append)
    elsewhere = [seen for seen in hub.seen if seen.path.startswith("/cdn/")]
    assert elsewhere
    assert not [seen for seen in elsewhere if seen.token]


def test_a_private_or_missing_repository_says_both(serve: Serve, said: list[str], monkeypatch) -> None:
    hub = serve({REPO: tiny_repo()})
    hub.faults.private.add(REPO)
    for missing in (REPO, "org/nothing"):
        with pytest.raises(ModelNotFoundError, match=rf"no repository {missing}: check the name.*HF_TOKEN"):
            resolve(missing, report=said.append)
    monkeypatch.setenv("HF_TOKEN", hub.TOKEN)
    assert resolve(REPO, report=said.append).source == "hub"


def test_a_gated_alias_does_not_fall_back_to_anything(serve: Serve, said: list[str]) -> None:
    repo = "HuggingFaceTB/SmolLM2-135M-Instruct"
    hub = serve({repo: tiny_repo()})
    hub.faults.gated.add(repo)
    with pytest.raises(DownloadError, match=f"https://huggingface.co/{repo}"):
        resolve("smollm2-135m", report=said.append)


def test_a_disk_that_is_too_small_is_refused_before_the_download(serve: Serve, said: list[str], monkeypatch) -> None:
    hub = serve({REPO: tiny_repo()})
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6 - 1000, 1000))
    with pytest.raises(DownloadError, match=r"not enough disk space in .*3\.5 MB needed, 1\.0 kB free.*HF_HOME"):
        resolve(REPO, report=said.append)
    assert not hub.downloads(FILE)


def test_a_disk_that_fills_up_leaves_nothing_under_the_final_name(serve: Serve, said: list[str]) -> None:
    serve({REPO: tiny_repo()})
    blobs().mkdir(parents=True)
    (blobs() / f"{SHA}.incomplete").symlink_to("/dev/full")
    with pytest.raises(DownloadError, match=r"the disk of .* is full; free some, or set HF_HOME"):
        resolve(REPO, report=said.append)
    assert not (blobs() / SHA).exists()
    assert store.load(REPO) is None


def test_a_cache_that_cannot_be_written_is_named(serve: Serve, said: list[str]) -> None:
    serve({REPO: tiny_repo()})
    Path(constants.HF_HUB_CACHE).write_text("a file, not a folder")
    with pytest.raises(DownloadError, match=r"cannot write .*HF_HOME"):
        resolve(REPO, report=said.append)


def test_an_unreachable_hub_is_named_with_the_cause(said: list[str]) -> None:
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9: .*refused.*HF_ENDPOINT.*local folder"):
        resolve(REPO, report=said.append)


def test_a_hub_that_never_answers_is_given_up(serve: Serve, said: list[str], monkeypatch) -> None:
    assert PROBE_SECONDS < 5
    monkeypatch.setattr(reach, "PROBE_SECONDS", 0.2)
    hub = serve({REPO: tiny_repo()})
    hub.faults.silent = threading.Event()
    with pytest.raises(DownloadError, match=r"cannot be reached \(.*(no answer within 0\.2 s|timed out)"):
        resolve(REPO, report=said.append)


def test_a_hub_that_is_down_counts_as_unreachable(serve: Serve, said: list[str]) -> None:
    serve({}).faults.status = 503
    with pytest.raises(DownloadError, match="answers 503"):
        resolve(REPO, report=said.append)


def test_something_else_than_a_hub_is_recognised(serve: Serve, said: list[str]) -> None:
    serve({}).faults.status = 200
    with pytest.raises(DownloadError, match=r"does not answer as a Hugging Face hub.*HF_ENDPOINT"):
        resolve(REPO, report=said.append)


def test_a_rate_limit_is_named(serve: Serve, said: list[str]) -> None:
    serve({}).faults.status = 429
    with pytest.raises(DownloadError, match="limits the rate"):
        resolve(REPO, report=said.append)


def test_an_empty_repository_is_no_model(serve: Serve, said: list[str]) -> None:
    serve({REPO: {"README.md": b"hello"}})
    with pytest.raises(CheckpointError, match="no safetensors and no GGUF"):
        resolve(REPO, report=said.append)
