"""What the programs of a launch do to each other: on a device they run at the same time, in any order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from triton._C.libtriton import interpreter as memory

from tests.triton.interpreted.checker.memory import WIDEST, Argument

Addresses = np.ndarray[Any, np.dtype[np.uint64]]
Lanes = np.ndarray[Any, np.dtype[np.intp]]

# Whose accesses the kernel orders itself, and how.
ORDERED = {
    # A program that arrives last at ``arrived`` has all others' parts before it, and is alone with the counter.
    "decode_kernel": ("parts_out_ptr", "parts_stats_ptr", "arrived_ptr"),
}
NOBODY, SEVERAL = 0, -1


@dataclass(frozen=True)
class Access:
    """What one instruction of a program touches, lane by lane, and what it stores there."""

    program: int
    argument: Argument
    addresses: Addresses
    width: int
    values: Any = None

    def is_lost(self, lanes: Any) -> Any:
        """Of what a store left in ``lanes``, what is something else now: programs may store the same value."""
        now = memory.load(self.addresses[lanes], np.ones(len(lanes), bool), self.values[lanes], self.values.dtype)
        return _bits(now) != _bits(self.values[lanes])


def _bits(values: Any) -> Any:
    return values.view(f"u{values.itemsize}")


class _Owners:
    """Which program touched each byte of a storage, from the lowest to the highest one touched."""

    def __init__(self, accesses: list[Access]) -> None:
        self.start = min(int(access.addresses.min()) for access in accesses) // WIDEST * WIDEST
        end = max(int(access.addresses.max()) for access in accesses) + WIDEST
        self.bytes = np.full(-(-(end - self.start) // WIDEST) * WIDEST, NOBODY, np.int32)
        for access in accesses:
            self._mark(access)

    def others(self, access: Access) -> Lanes:
        """The lanes of ``access`` where another program was."""
        inside = np.flatnonzero((access.addresses >= self.start) & (access.addresses < self.start + len(self.bytes)))
        owners = self._rows(access)[self._at(access, inside)]
        return inside[((owners != NOBODY) & (owners != access.program + 1)).any(1)]

    def _mark(self, access: Access) -> None:
        rows, at = self._rows(access), self._at(access, np.arange(len(access.addresses)))
        own = access.program + 1
        rows[at] = np.where((rows[at] == NOBODY) | (rows[at] == own), own, SEVERAL)

    def _rows(self, access: Access) -> Any:
        return self.bytes.reshape(-1, access.width)

    def _at(self, access: Access, lanes: Any) -> Addresses:
        return (access.addresses[lanes] - np.uint64(self.start)) // np.uint64(access.width)


def find_races(kernel: str, loads: list[Access], stores: list[Access], atomics: list[Access]) -> tuple[str, int] | None:
    """What is wrong with a launch, and with which program of it."""
    unordered = [_unordered(kernel, accesses) for accesses in (loads, stores, atomics)]
    return next(_races(*unordered), None)


def _unordered(kernel: str, accesses: list[Access]) -> list[Access]:
    return [access for access in accesses if access.argument.name not in ORDERED.get(kernel, ())]


def _races(loads: list[Access], stores: list[Access], atomics: list[Access]) -> Iterator[tuple[str, int]]:
    for storage in {access.argument.storage for access in stores}:
        owners = _Owners(_of(storage, stores))
        for access in _of(storage, stores):
            lanes = owners.others(access)
            yield from _told(access, lanes[access.is_lost(lanes)], "a store to {}, where another program stores, too")
        for access in _of(storage, loads):
            yield from _told(access, owners.others(access), "a load of {}, which another program stores to")
        for access in _of(storage, atomics):
            yield from _told(access, owners.others(access), "an atomic on {}, which another program stores to")
    for storage in {access.argument.storage for access in atomics}:
        owners = _Owners(_of(storage, atomics))
        for access in _of(storage, loads):
            yield from _told(access, owners.others(access), "a load of {}, which another program changes")


def _of(storage: int, accesses: list[Access]) -> list[Access]:
    return [access for access in accesses if access.argument.storage == storage]


def _told(access: Access, lanes: Any, message: str) -> Iterator[tuple[str, int]]:
    if len(lanes):
        yield message.format(access.argument.place(int(access.addresses[lanes[0]]))), access.program
