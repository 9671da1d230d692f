"""Finding and loading the shared library of CPU kernels."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from functools import cache
from pathlib import Path

import llmrt_kernels.cpu
from llmrt_kernels.cpu.structs import CONSTANTS, STRUCTS
from llmrt_kernels.layout import FORMS

NAME = "libllmrt_cpu.dylib" if sys.platform == "darwin" else "libllmrt_cpu.so"


class Call(ctypes.Structure):
    """``llmrt_call``: a kernel and the address of its arguments."""

    _fields_ = (("function", ctypes.c_void_p), ("args", ctypes.c_void_p))


class Library:
    """The loaded library, with an instruction set chosen.

    ``threads`` run each call; ``seconds`` have been spent in its kernels so far. Raises ``ValueError`` for a library
    whose structs or constants are not those here, and for an instruction set that is not available.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.threads = 1
        self.seconds = 0.0
        self._c = ctypes.CDLL(str(path))  # lets go of the interpreter's lock during a call
        self._check_sizes()
        self._c.llmrt_run.argtypes = (ctypes.POINTER(Call), ctypes.c_int64)
        self._c.llmrt_run.restype = None
        self._c.llmrt_find.argtypes = (ctypes.c_char_p,)
        self._c.llmrt_find.restype = ctypes.c_void_p
        self._c.llmrt_choose_isa.argtypes = (ctypes.c_char_p,)
        self._c.llmrt_choose_isa.restype = ctypes.c_char_p
        self._c.llmrt_available_isas.restype = ctypes.c_char_p
        self._c.llmrt_set_threads.argtypes = (ctypes.c_int32,)
        self.isa = self.choose_isa(os.environ.get("LLMRT_ISA"))

    def _check_sizes(self) -> None:
        """A kernel with another struct, type or need of room would not fail, but use whatever lies there."""
        sizes = {name: ctypes.sizeof(own) for name, own in STRUCTS.items()} | CONSTANTS
        sizes["llmrt_dtype"] = 1 + max(form.dtype for form in FORMS.values())
        size_of = getattr(self._c, "llmrt_size_of", None)
        if size_of is not None:
            size_of.argtypes, size_of.restype = (ctypes.c_char_p,), ctypes.c_int64
        if size_of is None or any(size_of(name.encode()) != size for name, size in sizes.items()):
            raise ValueError(
                f"{self.path} was built for another version of llmrt. Install llmrt again, which builds it: "
                "`pip install .`, or `pip install -e .` in a checkout that is worked on."
            )

    @property
    def available_isas(self) -> list[str]:
        """The instruction sets that this build and this processor share, best first."""
        return self._c.llmrt_available_isas().decode().split(",")

    def choose_isa(self, name: str | None) -> str:
        """Use an instruction set, the best for None. Raises ``ValueError`` for one that is not available."""
        chosen = self._c.llmrt_choose_isa(None if name is None else name.encode())
        if chosen is None:
            raise ValueError(f"LLMRT_ISA is {name!r}; this machine has {', '.join(self.available_isas)}.")
        self.isa = chosen.decode()
        self.find.cache_clear()
        return self.isa

    def set_threads(self, threads: int) -> None:
        """How many threads run each call, the caller among them."""
        self._c.llmrt_set_threads(threads)
        self.threads = threads

    @cache  # noqa: B019 - there is one library, and it is never let go
    def find(self, op: str) -> int:
        """The address of a kernel for the chosen instruction set."""
        address = self._c.llmrt_find(op.encode())
        assert address is not None, op
        return address

    def run(self, calls: ctypes.Array[Call], count: int) -> None:
        """Execute calls one after the other, each on all threads."""
        start = time.perf_counter()
        self._c.llmrt_run(calls, count)
        self.seconds += time.perf_counter() - start


@cache
def load() -> Library | None:
    """The library, or None where the package was installed without a compiler.

    An editable install keeps the library beside the installed package and the sources in the checkout, so every
    folder of the package is searched. Raises as ``Library`` does.
    """
    for folder in llmrt_kernels.cpu.__path__:
        path = Path(folder) / NAME
        if path.exists():
            return Library(path)
    return None
