"""The server of the server tests, until it is stopped: its engine answers at once, with the user's words."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "server"), str(TESTS.parent)]

from serving import SCRIPT, write_model  # noqa: E402
from tool_templates import QWEN  # noqa: E402

signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # which ends the server and its folder along

with tempfile.TemporaryDirectory() as folder:
    path = write_model(Path(folder) / "model", template=QWEN)
    code = SCRIPT.format(here=str(TESTS / "server"), path=str(path), device="auto", drain=0.3)
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        process.wait()
    finally:
        process.terminate()
        process.wait()
