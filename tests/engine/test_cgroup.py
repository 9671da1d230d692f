"""Limits of control groups, in trees as Linux shows them: of a container, of a systemd unit, of version 1."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmrt.engine.hardware.cgroup import memory_limits, quotas

GB = 10**9
UNIT = "system.slice/llmrt.service"


def tree(folder: Path, own: str, files: dict[str, object]) -> tuple[Path, Path]:
    """The arguments of a system whose groups have ``files`` and whose /proc/self/cgroup is ``own``."""
    mount, lines = folder / "cgroup", folder / "own"
    lines.write_text(own)
    for name, content in files.items():
        (mount / name).parent.mkdir(parents=True, exist_ok=True)
        (mount / name).write_text(f"{content}\n")
    return mount, lines


def memory(group: str, limit: object, used: int, stat: str = "anon 5") -> dict[str, object]:
    return {f"{group}/memory.max": limit, f"{group}/memory.current": used, f"{group}/memory.stat": stat}


def test_a_containers_limit_is_that_of_the_whole_tree(tmp_path: Path) -> None:
    files = {**memory(".", 8 * GB, 3 * GB, f"active_file {GB}\ninactive_file {GB}"), "cpu.max": "150000 100000"}
    where = tree(tmp_path, "0::/\n", files)
    assert memory_limits(*where) == [(8 * GB, 7 * GB)]  # pages of files are dropped when memory is needed
    assert quotas(*where) == [2]


def test_limits_of_a_service_and_of_the_groups_around_it_all_hold(tmp_path: Path) -> None:
    files = {
        **memory(UNIT, 4 * GB, GB),
        **memory("system.slice", "max", 9 * GB),
        f"{UNIT}/memory.high": 3 * GB,
        "system.slice/cpu.max": "max 100000",
        f"{UNIT}/cpu.max": "300000 100000",
    }
    where = tree(tmp_path, f"0::/{UNIT}\n", files)
    assert sorted(memory_limits(*where)) == [(3 * GB, 2 * GB), (4 * GB, 3 * GB)]
    assert quotas(*where) == [3]


@pytest.mark.parametrize("shown", ["memory/docker/ab", "memory"])  # a container may see its own group as the top
def test_version_1_has_a_tree_for_each_controller(tmp_path: Path, shown: str) -> None:
    files = {
        f"{shown}/memory.limit_in_bytes": 2 * GB,
        f"{shown}/memory.usage_in_bytes": GB,
        f"{shown}/memory.stat": f"total_inactive_file {GB // 2}",
        "cpu/docker/ab/cpu.cfs_quota_us": 200000,
        "cpu/docker/ab/cpu.cfs_period_us": 100000,
        "cpu/cpu.cfs_quota_us": -1,
        "cpu/cpu.cfs_period_us": 100000,
    }
    where = tree(tmp_path, "4:memory:/docker/ab\n1:cpu,cpuacct:/docker/ab\n0::/\n", files)
    assert memory_limits(*where) == [(2 * GB, GB + GB // 2)]
    assert quotas(*where) == [2]


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert memory_limits(tmp_path, tmp_path / "none") == quotas(tmp_path, tmp_path / "none") == []
