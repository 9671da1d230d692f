"""What the control groups of this process leave it of memory and of the processor. Free of torch.

A limit holds for all groups below it: one of a container stands at the top of the tree that is seen, one of a service
manager on the way down to the process. Version 2 has one tree, version 1 one for each controller.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MOUNT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")

# limit, use, and what of the use can be dropped: pages of files
_MEMORY = (
    ("memory.max", "memory.current", ("active_file", "inactive_file")),
    ("memory.high", "memory.current", ("active_file", "inactive_file")),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_active_file", "total_inactive_file")),
)


class MemoryLimit(NamedTuple):
    """Bytes that a group may use, and those that are left of them."""

    most: int
    left: int


def memory_limits(mount: Path = MOUNT, own: Path = OWN) -> list[MemoryLimit]:
    """Of every group that this process is in."""
    return [limit for group in _groups("memory", mount, own) for names in _MEMORY for limit in _limit(group, *names)]


def quotas(mount: Path = MOUNT, own: Path = OWN) -> list[int]:
    """Processors that each quota is good for, rounded up."""
    return [quota for group in _groups("cpu", mount, own) for quota in _quota(group)]


def _groups(controller: str, mount: Path, own: Path) -> Iterator[Path]:
    """The folders of the groups that this process is in, from its own up to the whole tree's."""
    for line in _read(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        tree = mount / controller if controllers else mount
        group = tree / path.lstrip("/")
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(tree))


def _limit(group: Path, limit: str, use: str, droppable: tuple[str, ...]) -> list[MemoryLimit]:
    most, used = _read(group / limit).strip(), _read(group / use)
    if not most or not used or most == "max":
        return []
    stat = dict(line.split() for line in _read(group / "memory.stat").splitlines())
    left = int(most) - int(used) + sum(int(stat.get(name, 0)) for name in droppable)
    return [MemoryLimit(int(most), max(0, left))]


def _quota(group: Path) -> list[int]:
    both = _read(group / "cpu.max") or " ".join(_read(group / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    quota, period = both.split() or ("max", "0")
    return [] if quota in ("max", "-1") else [-(-int(quota) // int(period))]


def _read(file: Path) -> str:
    """Empty where there is none, as on other systems, or where it may not be read."""
    try:
        return file.read_text()
    except OSError:
        return ""
