"""What is known of GPUs without torch: their driver is a pretended one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from llmrt.cli.checkup import PYTHON_HEADERS, _gpu_remedy
from llmrt.engine.hardware import gpus
from llmrt.engine.hardware.gpus import auto_device, gpu_refusal, visible_gpus
from llmrt.engine.hardware.limits import gpu_limits


class NoSuchGpuError(Exception):
    """What the driver's library raises."""


def pretended_driver(count: int) -> Any:
    def handle(index: int) -> int:
        if not 0 <= index < count:
            raise NoSuchGpuError
        return index

    def uuid(name: str) -> int:
        if name != "GPU-1":
            raise NoSuchGpuError
        return 1

    return SimpleNamespace(
        NVMLError=NoSuchGpuError,
        NVML_CLOCK_MEM=2,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: count,
        nvmlDeviceGetHandleByIndex=handle,
        nvmlDeviceGetHandleByUUID=uuid,
        nvmlDeviceGetName=lambda handle: f"Card {handle}",
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(total=24 * 10**9, free=20 * 10**9),
        nvmlDeviceGetMaxClockInfo=lambda handle, clock: 9751,
        nvmlDeviceGetMemoryBusWidth=lambda handle: 384,
        nvmlDeviceGetCudaComputeCapability=lambda handle: (8, 6),
        nvmlSystemGetDriverVersion=lambda: "555.42",
    )


def test_a_card_is_described_by_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """An RTX 3090: 936 GB/s, says its data sheet."""
    monkeypatch.setitem(sys.modules, "pynvml", pretended_driver(1))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (gpu,) = visible_gpus()
    assert (gpu.name, gpu.capability, gpu.driver) == ("Card 0", (8, 6), "555.42")
    assert gpu.read_bytes_per_second == pytest.approx(936e9, rel=0.001)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("1", ["Card 1"]),
        ("1,0", ["Card 1", "Card 0"]),
        ("", []),
        ("-1", []),
        ("GPU-1", ["Card 1"]),
        ("0,9,1", ["Card 0"]),
    ],
)
def test_those_that_are_hidden_are_left_out(visible: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", pretended_driver(2))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu.name for gpu in visible_gpus()] == expected


@pytest.mark.parametrize(("torch", "device"), [("2.13.0+cu128", "cuda"), ("2.13.0+cpu", "cpu"), (None, "cpu")])
def test_a_gpu_is_taken_where_torch_can_use_it(torch: str | None, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", pretended_driver(1))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "installed", lambda package: torch)
    monkeypatch.setattr(gpus, "find_spec", lambda package: package)
    monkeypatch.setattr(gpus, "launcher_refusal", lambda: None)
    assert auto_device() == device
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert auto_device() == "cpu"


def test_a_gpu_of_which_the_driver_tells_no_memory_has_that_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise NoSuchGpuError

    driver = pretended_driver(1)
    driver.nvmlDeviceGetMemoryInfo = driver.nvmlDeviceGetMemoryBusWidth = refuse
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "installed", lambda package: "2.13.0+cu128")
    monkeypatch.setattr(gpus, "find_spec", lambda package: package)
    monkeypatch.setattr(gpus, "launcher_refusal", lambda: None)
    assert auto_device() == "cuda"
    (gpu,) = visible_gpus()
    assert 0 < gpu.free_bytes <= gpu.total_bytes == psutil.virtual_memory().total
    assert gpu.read_bytes_per_second is None and gpu_limits(gpu) is None


def test_without_a_driver_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise NoSuchGpuError

    driver = pretended_driver(1)
    driver.nvmlInit = refuse
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    assert visible_gpus() == []


def test_triton_takes_a_compiler_and_headers_and_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CC", "CPATH", "C_INCLUDE_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(gpus, "find_spec", lambda package: package)
    monkeypatch.setattr(gpus.shutil, "which", {"clang": "/bin/clang"}.get)
    monkeypatch.setattr(gpus.sysconfig, "get_path", lambda name, scheme: str(tmp_path))
    refusal = gpu_refusal((9, 0))
    assert refusal is not None and refusal.startswith(f"there is no {tmp_path / 'Python.h'}, ")
    (tmp_path / "Python.h").touch()
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "a" / "b"))
    assert gpu_refusal((9, 0)) is None
    monkeypatch.setattr(gpus.os, "access", lambda path, mode: path != tmp_path)  # root may write anywhere
    refusal = gpu_refusal((9, 0))
    assert refusal == f"Triton keeps what it compiles in {tmp_path}/a/b, which cannot be written to"
    assert _gpu_remedy(refusal) == "set TRITON_CACHE_DIR to a folder that can be"
    monkeypatch.setattr(gpus.shutil, "which", lambda name: None)
    refusal = gpu_refusal((9, 0))
    assert refusal is not None and refusal.startswith("there is no C compiler, ")
    assert _gpu_remedy(refusal) == f"run: apt install gcc {PYTHON_HEADERS}"
    monkeypatch.setattr(gpus.shutil, "which", {"gcc": "/bin/gcc"}.get)
    monkeypatch.setenv("CC", "ccache gcc")  # which is no program, and Triton takes it for one
    refusal = gpu_refusal((9, 0))
    assert refusal is not None and refusal.startswith("there is no 'ccache gcc', which CC names, ")


def test_a_home_that_may_not_be_looked_into_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service under another user's HOME: pathlib's own question raises there."""

    def stat(path: Any, *, stat: Any = os.stat, **options: Any) -> Any:
        if Path(path).is_relative_to(tmp_path) and Path(path) != tmp_path:
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(gpus, "find_spec", lambda package: package)
    monkeypatch.setattr(gpus.shutil, "which", lambda name: name)
    monkeypatch.setenv("CPATH", "/usr/include/python")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "a" / "b"))
    monkeypatch.setattr(gpus.os, "stat", stat)
    monkeypatch.setattr(gpus.os, "access", lambda path, mode: path != tmp_path)
    refusal = gpu_refusal((9, 0))
    assert refusal is not None and "which cannot be written to" in refusal
