"""``llmrt selftest`` on a real server with the real model: every check that applies passes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmrt.selftest.catalogue import CHECKS
from llmrt.selftest.check import Check, run_check
from llmrt.selftest.server import Server, find_server
from tests.e2e.served_command import served_command

KEY = "sk-selftest"
# What an ordinary model cannot be brought to do; tests/server/test_checks.py has these with a scripted one.
FROM_INSIDE = {11, 35, 42}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served_command("smollm2-135m", "--ctx", "2048", "--quant", "int8", "--api-key", KEY) as served:
        yield find_server(served.url, None, KEY)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"c{check.number}")
def test_selftest(server: Server, check: Check) -> None:
    result = run_check(check, server)
    expected = "not applicable" if check.number in FROM_INSIDE else "pass"
    assert result.outcome == expected, result.seen
