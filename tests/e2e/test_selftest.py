"""``llmrt selftest`` on a real server with the real model: every check that applies passes."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmrt.selftest.catalogue import CHECKS
from llmrt.selftest.check import Check, run_check
from llmrt.selftest.server import Server, find_server

LLMRT = [sys.executable, "-c", "from llmrt.cli.main import main; main()"]
KEY = "sk-selftest"
# What an ordinary model cannot be brought to do; tests/server/test_checks.py has these with a scripted one.
FROM_INSIDE = {11, 35, 42}


@pytest.fixture(scope="module")
def server(smollm2: Path) -> Iterator[Server]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    command = [*LLMRT, "serve", "smollm2-135m", "--port", str(port), "--ctx", "2048", "--quant", "int8"]
    process = subprocess.Popen([*command, "--api-key", KEY], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert any("is served at" in line for line in process.stdout)  # behind what a first start says of packed weights
    yield find_server(f"http://127.0.0.1:{port}", None, KEY)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"c{check.number}")
def test_selftest(server: Server, check: Check) -> None:
    result = run_check(check, server)
    expected = "not applicable" if check.number in FROM_INSIDE else "pass"
    assert result.outcome == expected, result.seen
