"""The server, its idle engine and the clients as the benchmark runs them, with few tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.server_capacity import Used, measure_all, measure_requests
from benchmarks.serving.idle_worker import PacedDevice
from tests.server.serving import write_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Its weights are not looked at."""
    path = write_model(tmp_path / "model")
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").touch()
    return path


def test_every_answer_is_whole_at_any_pace(model: Path) -> None:
    outputs = {1: 40, 3: 20}  # it raises for an answer in which a token is missing
    rows = measure_all(str(model), [1.0, 0.0], outputs, rounds=2)
    assert [(row["step_ms"], row["streams"], row["output"]) for row in rows] == [
        (1, 1, 40),
        (1, 3, 20),
        (0, 1, 40),
        (0, 3, 20),
    ]
    for row in rows:
        assert row["tokens_per_second"] == pytest.approx(sum(run["tokens_per_second"] for run in row["runs"]) / 2)
        assert {"server_us", "engine_us", "client_us", "server_share"} < set(row)


def test_a_request_takes_its_time_of_each_process(model: Path) -> None:
    rows = measure_requests(str(model), [1, 4], seen=8)
    assert [row["at_once"] for row in rows] == [1, 4]
    assert all(row["wall_ms"] > 0 and row["server_ms"] >= 0 and row["engine_ms"] >= 0 for row in rows)


def test_requests_are_taken_from_what_was_used() -> None:
    assert Used(5, 4, 3).less(Used(1, 0.5, 1), 2) == Used(3, 3, 1)
    assert Used(6, 4, 2).over(2) == Used(3, 2, 1)


def test_a_paced_device_takes_its_time_for_each_step() -> None:
    device = PacedDevice(7, 100)
    first, second = device.event(), device.event()
    assert second.at == first.at + 100
    assert device.host_buffer(3, torch.int64).tolist() == [7, 7, 7]
