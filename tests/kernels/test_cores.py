"""Where the threads of the pool run, and what becomes of one that comes late."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from llmrt_kernels.cpu.library import load
from llmrt_kernels.cpu.linear import rms_norm

CORES = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
_PROCESSOR = 36  # in /proc/.../stat, behind the name: the core that the thread was last on
_RUNS = 1000  # at most: others' processes move threads too
SOURCES = Path(__file__).parents[2] / "kernels" / "csrc"


@pytest.mark.skipif(len(CORES) < 2, reason="threads part where there is a second core")
def test_threads_that_came_to_one_core_part_and_may_still_use_all() -> None:
    library = load()
    assert library is not None
    before = _threads()
    library.set_threads(2)
    pool = [threading.get_native_id(), *(_threads() - before)]
    try:
        _allow(pool, CORES[:1])
        _run()
        assert {_core_of(thread) for thread in pool} == {CORES[0]}
        _allow(pool, CORES)
        assert any(_are_apart(pool) for _ in range(_RUNS))
        assert all(os.sched_getaffinity(thread) == set(CORES) for thread in pool)
    finally:
        _allow(pool, CORES)


def test_a_thread_that_comes_late_to_a_tape_joins_it(tmp_path: Path) -> None:
    program = tmp_path / "late_thread"
    parts = ["tests/late_thread.cpp", "thread_pool.cpp", "team.cpp", "waiting.cpp", "cores.cpp"]
    command = [os.environ.get("CXX", "c++"), "-std=c++20", "-O1", f"-I{SOURCES}", *(SOURCES / part for part in parts)]
    subprocess.run([*command, "-pthread", "-o", program], check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def _run() -> None:
    rms_norm(torch.randn(8, 64), torch.ones(64), 1e-5, 32)


def _are_apart(pool: list[int]) -> bool:
    _run()
    return len({_core_of(thread) for thread in pool}) == len(pool)


def _threads() -> set[int]:
    return {int(each) for each in os.listdir("/proc/self/task")}


def _allow(threads: list[int], cores: list[int]) -> None:
    for thread in threads:
        os.sched_setaffinity(thread, cores)


def _core_of(thread: int) -> int:
    return int(Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()[_PROCESSOR])
