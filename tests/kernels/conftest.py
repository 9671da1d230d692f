"""The same tests for every implementation: the reference, and the native kernels on each instruction set here."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from llmrt_kernels.cpu import attention, elementwise
from llmrt_kernels.cpu.library import load
from llmrt_kernels.reference.paged_attention import paged_attention
from llmrt_kernels.reference.rms_norm import add_rms_norm
from llmrt_kernels.reference.rope_kv_write import rope_kv_write
from llmrt_kernels.reference.silu_mul import silu_mul

LIBRARY = load()
assert LIBRARY is not None, "the tests need the native library: install a C++ compiler and run `make test` again"

REFERENCE = SimpleNamespace(
    name="reference",
    paged_attention=paged_attention,
    add_rms_norm=add_rms_norm,
    rope_kv_write=rope_kv_write,
    silu_mul=silu_mul,
)
NATIVE = SimpleNamespace(
    name="cpu",
    paged_attention=attention.paged_attention,
    add_rms_norm=elementwise.add_rms_norm,
    rope_kv_write=attention.rope_kv_write,
    silu_mul=elementwise.silu_mul,
)


@pytest.fixture(params=LIBRARY.available_isas)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set in turn, on more threads than one."""
    assert LIBRARY is not None
    LIBRARY.choose_isa(request.param)
    LIBRARY.set_threads(3)
    yield request.param
    LIBRARY.choose_isa(None)


@pytest.fixture(params=["reference", *LIBRARY.available_isas])
def ops(request: pytest.FixtureRequest) -> Iterator[SimpleNamespace]:
    """The ops of one implementation."""
    if request.param == "reference":
        yield REFERENCE
        return
    assert LIBRARY is not None
    LIBRARY.choose_isa(request.param)
    LIBRARY.set_threads(3)
    yield NATIVE
    LIBRARY.choose_isa(None)
