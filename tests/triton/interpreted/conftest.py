"""Kernels run by Triton's interpreter on the CPU; with LLMRT_TRITON_DEVICE=cuda, compiled and run on a GPU.

The interpreter cuts a float off to bf16 where a device rounds it, so tolerances for bf16 are a whole step.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import triton.language as tl
from triton.runtime import interpreter

from llmrt_kernels.expansion import EXPANDED_FROM
from llmrt_kernels.triton import expand
from llmrt_kernels.triton.target import target_of
from tests.triton.interpreted.checker.interpreter import check_launches
from tests.triton.interpreted.quick_interpreter import make_quick

DEVICE = os.environ.get("LLMRT_TRITON_DEVICE", "cpu")
Builder = interpreter.InterpreterBuilder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--share", metavar="I/N", help="of the tests every Nth, from the Ith on: for N processes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if (share := config.getoption("share")) is not None:
        first, step = map(int, share.split("/"))
        items[:] = items[first - 1 :: step]


def pytest_configure(config: pytest.Config) -> None:
    # exp of a large number is infinite, as it is on a device.
    config.addinivalue_line("filterwarnings", "ignore::RuntimeWarning:triton.runtime.interpreter")
    if (os.environ.get("TRITON_INTERPRET") == "1") == (DEVICE == "cuda"):
        raise pytest.UsageError(
            "tests/triton/interpreted runs with TRITON_INTERPRET=1 (`make kernels`), "
            "or without it and with LLMRT_TRITON_DEVICE=cuda on a GPU."
        )


def _tensor_patch(tensor: Any, scope: Any, patch: Any = interpreter._patch_lang_tensor) -> None:
    """The interpreter makes loop bounds of arrays with one element, which NumPy 2.4 no longer takes for integers."""
    patch(tensor, scope)
    scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())


def _dot(builder: Any, a: Any, b: Any, d: Any, *rest: Any, dot: Any = Builder.create_dot) -> interpreter.TensorHandle:
    """The interpreter keeps bf16 in uint16, and multiplies those; its sums of floats depend on the column.

    Summed in double precision and rounded once, columns that are alike give results that are.
    """
    if not d.dtype.is_floating():
        return dot(builder, a, b, d, *rest)
    left, right = ((builder.cast_impl(x, tl.float32) if x.dtype == tl.bfloat16 else x).data for x in (a, b))
    total = left.astype(np.float64) @ right.astype(np.float64) + d.data
    return interpreter.TensorHandle(total.astype(d.data.dtype), d.dtype.scalar)


def _fma(_: Any, x: Any, y: Any, z: Any) -> interpreter.TensorHandle:
    """The interpreter rounds the product and then the sum; in double precision the product is exact."""
    total = x.data.astype(np.float64) * y.data + z.data
    return interpreter.TensorHandle(total.astype(z.data.dtype), z.dtype.scalar)


interpreter._patch_lang_tensor = _tensor_patch
Builder.create_fma = _fma
Builder.create_dot = _dot


@pytest.fixture(autouse=True, scope="session")
def checked_launches() -> Iterator[None]:
    """In the interpreter, what a device would fault or go wrong on fails the test: see ``checker``."""
    with pytest.MonkeyPatch.context() as patch:
        if DEVICE == "cpu":
            check_launches(patch)
            make_quick()
        yield


@pytest.fixture
def device() -> str:
    """Where the tests' tensors lie."""
    return DEVICE


@pytest.fixture
def expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of five tokens and more are torch's, from weights expanded in strips of 128 rows."""
    monkeypatch.setitem(EXPANDED_FROM, target_of(torch.device(DEVICE)).name, 5)
    monkeypatch.setattr(expand, "STRIP_BYTES", 1)


@pytest.fixture(autouse=True)
def poisoned_outputs() -> Iterator[None]:
    """What is allocated without being filled is not a number, or the largest integer: what a kernel forgets shows."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)
