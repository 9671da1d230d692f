"""The same tests on each instruction set of this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmrt_kernels.cpu.library import load

LIBRARY = load()
assert LIBRARY is not None, "the tests need the native library: install a C++ compiler and run `make test` again"


@pytest.fixture(params=LIBRARY.available_isas)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set in turn, on more threads than one."""
    assert LIBRARY is not None
    LIBRARY.choose_isa(request.param)
    LIBRARY.set_threads(3)
    yield request.param
    LIBRARY.choose_isa(None)
