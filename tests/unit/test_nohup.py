"""Under nohup a run of the tests outlives its terminal, and the signals that they send still end what they start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

HANG_UP = "import os, signal; os.kill(os.getpid(), signal.SIGHUP)"
RUN = f"""
import subprocess, sys
import tests.conftest
{HANG_UP}
started = subprocess.run([sys.executable, "-c", {HANG_UP!r}])
sys.exit(started.returncode != -signal.SIGHUP)
"""


def status(*prefix: str, **variables: str) -> int:
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_XDIST_WORKER"}
    command = [*prefix, sys.executable, "-c", RUN]
    return subprocess.run(command, env={**environment, **variables}, check=False, stdin=subprocess.DEVNULL).returncode


def test_a_terminal_that_closes_ends_a_run_but_under_nohup() -> None:
    assert status() == -signal.SIGHUP
    assert status("nohup") == 0
    assert status(PYTEST_XDIST_WORKER="gw0") == 0
