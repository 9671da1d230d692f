"""What is asked of macOS, and what it says: of this machine's answers those that differ there are replaced."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import psutil
import pytest

from llmrt.engine import worker
from llmrt.engine.hardware import processor, sysctl, threads
from llmrt.server import runner

M4 = {"hw.perflevel0.physicalcpu": "4", "machdep.cpu.brand_string": "Apple M4"}


@pytest.fixture
def m4(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ten cores, of which four are fast."""
    program = tmp_path / "sysctl"
    answers = "".join(f"'-n {name}') echo '{value}';;\n" for name, value in M4.items())
    program.write_text(f'#!/bin/sh\ncase "$*" in\n{answers}*) exit 1;;\nesac\n')
    program.chmod(0o755)
    monkeypatch.setattr(sysctl, "_PROGRAM", str(program))
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 10)
    monkeypatch.setattr(threads, "_affinity", lambda: [*range(10)])
    monkeypatch.setattr(threads, "quotas", list)


@pytest.mark.usefixtures("m4")
def test_threads_are_as_many_as_fast_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    assert threads.usable_cores() == 4
    monkeypatch.setattr(sysctl, "_PROGRAM", "/no/such/program")
    assert threads.usable_cores() == 10


@pytest.mark.usefixtures("m4")
def test_the_processor_has_its_name(tmp_path: Path) -> None:
    assert processor.processor_name(tmp_path / "cpuinfo") == "Apple M4"
    assert sysctl.sysctl("no.such.name") == ""


def test_no_more_open_files_are_asked_for_than_it_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [256, resource.RLIM_INFINITY]

    def change(_: int, wanted: tuple[int, int]) -> None:
        if wanted[0] > 61440:  # its kern.maxfilesperproc, with 16 GB of memory
            raise ValueError("current limit exceeds maximum limit")
        limits[:] = wanted

    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", change)
    runner._allow_connections()
    assert limits == [10240, resource.RLIM_INFINITY]
    limits[0] = 20000
    runner._allow_connections()
    assert limits[0] == 20000


def test_the_engine_ends_with_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    parents, ends = iter([7, 7, 7, 1]), []
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    monkeypatch.setattr(os, "_exit", ends.append)
    worker._exit_with_parent(-1)
    assert ends == [0] and not [*parents]
