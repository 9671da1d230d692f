"""Kernels run by Triton's interpreter on the CPU; with LLMRT_TRITON_DEVICE=cuda, compiled and run on a GPU.

The interpreter cuts a float off to bf16 where a device rounds it, so tolerances for bf16 are a whole step.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

DEVICE = os.environ.get("LLMRT_TRITON_DEVICE", "cpu")


def pytest_configure(config: pytest.Config) -> None:
    # exp of a large number is infinite, as it is on a device.
    config.addinivalue_line("filterwarnings", "ignore::RuntimeWarning:triton.runtime.interpreter")
    if (os.environ.get("TRITON_INTERPRET") == "1") == (DEVICE == "cuda"):
        raise pytest.UsageError(
            "tests/triton/interpreted runs with TRITON_INTERPRET=1 (`make kernels`), "
            "or without it and with LLMRT_TRITON_DEVICE=cuda on a GPU."
        )


@pytest.fixture
def device() -> str:
    """Where the tests' tensors lie."""
    return DEVICE


@pytest.fixture(autouse=True)
def poisoned_outputs() -> Iterator[None]:
    """What is allocated without being filled is not a number, or the largest integer: what a kernel forgets shows."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)
