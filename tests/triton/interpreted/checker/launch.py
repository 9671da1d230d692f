"""One launch, watched: every address that a lane loads from or stores to, by program.

A pointer carries the number of the argument that it was made of, so that each access is held against that tensor.
What is found in an access ends the launch at once, before memory is touched; what two programs do to each other is
found at the end (``races``).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import pytest
from triton.runtime.interpreter import TensorHandle

from tests.triton.interpreted.checker.memory import ADDRESS, ADDRESS_BITS, Argument
from tests.triton.interpreted.checker.races import Access, Addresses, find_races


@dataclass
class Launch:
    """A kernel's launch. ``arguments`` are by number; ``reachable`` those whose addresses kernels read in memory."""

    kernel: str
    arguments: dict[int, Argument]
    reachable: list[Argument]
    grid: tuple[int, ...] = ()
    program: int = 0
    loads: list[Access] = field(default_factory=list[Access])
    stores: list[Access] = field(default_factory=list[Access])
    atomics: list[Access] = field(default_factory=list[Access])
    # Since the program's last barrier, by storage.
    loaded: dict[int, list[Addresses]] = field(default_factory=lambda: defaultdict(list))
    stored: dict[int, list[Addresses]] = field(default_factory=lambda: defaultdict(list))

    def begin(self, program: int) -> None:
        """From now on accesses are those of ``program``, by its place in the grid."""
        self.program = program
        self.barrier()

    def barrier(self) -> None:
        """What the program's threads did is behind it."""
        self.loaded.clear()
        self.stored.clear()

    def end(self) -> None:
        """All programs have run."""
        if found := find_races(self.kernel, self.loads, self.stores, self.atomics):
            self.fail(*found)

    def access(self, kind: str, pointers: TensorHandle, mask: Any, values: Any = None) -> TensorHandle:
        """The plain pointers of an access, which is a "load", a "store" of ``values`` or an "atomic"."""
        inside = np.broadcast_to(mask, pointers.data.shape).astype(bool)
        if inside.any():
            width = max(1, pointers.get_element_ty().primitive_bitwidth // 8)
            stored = None if values is None else np.broadcast_to(values, inside.shape)[inside]
            self._checked(kind, pointers.data[inside], width, stored)
        return TensorHandle(pointers.data & np.uint64(ADDRESS), pointers.dtype, pointers.attr)

    def _checked(self, kind: str, lanes: Addresses, width: int, values: Any) -> None:
        argument = self._argument_of(lanes)
        addresses = lanes & np.uint64(ADDRESS)
        self._check_place(kind, argument, addresses, width)
        if argument.unwritten is not None:
            self._check_written(kind, argument, addresses, width)
        self._check_order(kind, argument, addresses)
        record = {"load": self.loads, "store": self.stores, "atomic": self.atomics}[kind]
        record.append(Access(self.program, argument, addresses, width, values))

    def _argument_of(self, lanes: Addresses) -> Argument:
        number = int(lanes[0]) >> ADDRESS_BITS
        if number in self.arguments:
            return self.arguments[number]
        for argument in self.reachable:
            if argument.start <= int(lanes[0]) < argument.end:
                return argument
        self.fail(f"an access to the address {int(lanes[0]):#x}, which is no argument's")

    def _check_place(self, kind: str, argument: Argument, addresses: Addresses, width: int) -> None:
        least, most = int(addresses.min()), int(addresses.max())
        if least < argument.start or most + width > argument.end:
            wrong = least if least < argument.start else most
            size = (argument.end - argument.start) // argument.itemsize
            self.fail(f"a {kind} outside of {argument.place(wrong)}, which has {size} elements")
        if width > argument.itemsize and (addresses % np.uint64(width)).any():
            wrong = int(addresses[addresses % np.uint64(width) != 0][0])
            self.fail(f"a {kind} of {width} bytes at {argument.place(wrong)}, which is not aligned to them")

    def _check_written(self, kind: str, argument: Argument, addresses: Addresses, width: int) -> None:
        assert argument.unwritten is not None
        rows = argument.unwritten.reshape(-1, width)
        at = (addresses - np.uint64(argument.storage)) // np.uint64(width)
        if kind != "store" and (wrong := rows[at].any(1)).any():
            self.fail(f"a {kind} of {argument.place(int(addresses[wrong][0]))}, which nobody has written")
        if kind != "load":
            rows[at] = False

    def _check_order(self, kind: str, argument: Argument, addresses: Addresses) -> None:
        """A program's threads are not in step: only a barrier orders one's access behind another's."""
        before = {"load": self.stored, "store": self.loaded, "atomic": {}}[kind]
        if argument.storage in before and (wrong := np.isin(addresses, np.concatenate(before[argument.storage]))).any():
            other = "stored" if kind == "load" else "loaded"
            place = argument.place(int(addresses[wrong][0]))
            self.fail(f"a {kind} of {place}, which the program {other} without a barrier after it")
        if kind != "atomic":
            {"load": self.loaded, "store": self.stored}[kind][argument.storage].append(addresses)

    def fail(self, what: str, program: int | None = None) -> NoReturn:
        """The test fails: past the interpreter, which makes errors of its own of all others."""
        program = self.program if program is None else program
        place = ", ".join(str(int(i)) for i in np.unravel_index(program, self.grid))
        pytest.fail(f"{self.kernel}, program ({place}): {what}")
