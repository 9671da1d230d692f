"""What is asked of the disk before a start: the file that the start then maps, all of it, nothing else. No torch."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from llmrt.config import EngineConfig
from llmrt.engine.loading import read_ahead as module
from llmrt.engine.loading.read_ahead import expected_file, read_ahead
from llmrt.hub.packed import packed_copy
from llmrt.model.checkpoints.packed_header import PACKED_FILE


def copies(model: Path, *quants: str) -> list[Path]:
    files = [packed_copy(model, quant) for quant in quants]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"weights")
    return files


def test_a_copy_is_the_one_of_the_format_asked_for(tmp_path: Path) -> None:
    assert expected_file(tmp_path, EngineConfig(quant="int4")) is None
    (int4,) = copies(tmp_path, "int4")
    assert expected_file(tmp_path, EngineConfig(quant="auto")) == int4
    (int8,) = copies(tmp_path, "int8")
    assert expected_file(tmp_path, EngineConfig(quant="int8")) == int8
    assert expected_file(tmp_path, EngineConfig(quant="int4")) == int4
    for config in (
        EngineConfig(quant="none"),
        EngineConfig(quant="auto"),  # which of both is not known yet
        EngineConfig(quant="int4", calibration=(1, 2, 3)),
    ):
        assert expected_file(tmp_path, config) is None


def test_a_packed_folder_has_its_own_file(tmp_path: Path) -> None:
    (tmp_path / PACKED_FILE).write_bytes(b"weights")
    assert expected_file(tmp_path, EngineConfig()) == tmp_path / PACKED_FILE


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system takes no such requests")
@pytest.mark.parametrize("room", [True, False])
def test_all_of_the_file_is_asked_for_where_memory_can_hold_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: bool
) -> None:
    (file,) = copies(tmp_path, "int4")
    size = 2 * module._STRETCH + 5
    os.truncate(file, size)
    asked: list[range] = []
    monkeypatch.setattr(
        os, "posix_fadvise", lambda fd, start, length, advice: asked.append(range(start, start + length))
    )
    monkeypatch.setattr(module, "available_memory", lambda: size + room)
    read_ahead(tmp_path, EngineConfig(quant="int4"))
    for thread in threading.enumerate():
        if thread.name == "read-ahead":
            thread.join()
    assert [byte for byte in (0, size // 2, size - 1) if any(byte in each for each in asked)] == (
        [0, size // 2, size - 1] if room else []
    )
