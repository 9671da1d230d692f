"""Before any test imports torch: its threads yield when they wait, so that the tests also pass on a busy machine."""

from __future__ import annotations

import os
import signal

import pytest

from llmrt.engine.hardware.threads import limit_spinning

limit_spinning()

# Programs ignore what those that start them ignore: Ctrl+C in the background of a shell's script, under nohup the end
# of the terminal. Tests send both, so what they start is to begin with the default, as it does behind a handler, which
# the run itself keeps. A worker of xdist begins with the default too, and ends with the run.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN or "PYTEST_XDIST_WORKER" in os.environ:
    signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        terminalreporter.write_line("Not among these: tests/triton/interpreted, which `make kernels` runs.")
