"""Kernels compiled for devices that are not there."""

from __future__ import annotations

import os
import sys

import pytest

collect_ignore_glob = [] if sys.platform == "linux" else ["*"]  # there is no Triton elsewhere


def pytest_configure() -> None:
    if os.environ.get("TRITON_INTERPRET") == "1":
        raise pytest.UsageError("tests/triton/compiled runs without TRITON_INTERPRET=1: `make kernels`.")
