"""Kernels run by Triton's interpreter on the CPU; with LLMRT_TRITON_DEVICE=cuda, compiled and run on a GPU."""

from __future__ import annotations

import os

import pytest

DEVICE = os.environ.get("LLMRT_TRITON_DEVICE", "cpu")


def pytest_configure() -> None:
    if (os.environ.get("TRITON_INTERPRET") == "1") == (DEVICE == "cuda"):
        raise pytest.UsageError(
            "tests/triton/interpreted runs with TRITON_INTERPRET=1 (`make kernels`), "
            "or without it and with LLMRT_TRITON_DEVICE=cuda on a GPU."
        )


@pytest.fixture
def device() -> str:
    """Where the tests' tensors lie."""
    return DEVICE
