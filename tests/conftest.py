"""Before any test imports torch: its threads yield when they wait, so that the tests also pass on a busy machine."""

from __future__ import annotations

import signal

import pytest

from llmrt.engine.hardware.threads import limit_spinning

limit_spinning()

# A shell's script has what it starts in the background ignore Ctrl+C, and programs that those start: tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        terminalreporter.write_line("Not among these: tests/triton/interpreted, which `make kernels` runs.")
