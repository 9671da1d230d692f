"""Kernels compiled for devices that are not there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from benchmarks.kernel_table.reports import Pair, Report

collect_ignore_glob = [] if sys.platform == "linux" else ["*"]  # there is no Triton elsewhere


def pytest_configure() -> None:
    if os.environ.get("TRITON_INTERPRET") == "1":
        raise pytest.UsageError("tests/triton/compiled runs without TRITON_INTERPRET=1: `make kernels`.")


@pytest.fixture(scope="session")
def reports() -> Iterator[dict[Pair, Future[Report]]]:
    """Of all variants on all targets, which other processes compile meanwhile."""
    from benchmarks.kernel_table.reports import shipped, start  # there is no Triton elsewhere

    pool, futures = start(shipped())
    yield futures
    pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session", autouse=True)
def compiling(request: pytest.FixtureRequest) -> None:
    """From the first test on, whichever that is, if any of those that run asks for reports."""
    if any(isinstance(item, pytest.Function) and "reports" in item.fixturenames for item in request.session.items):
        request.getfixturevalue("reports")
