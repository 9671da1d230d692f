"""Requests of every shape, allowed by /openapi.json or not: no answer is a 5xx, and all are as it describes them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = "not_a_server_error,content_type_conformance,response_schema_conformance,status_code_conformance"


@pytest.mark.timeout(900)
def test_no_request_is_a_fault_of_the_server(scripted: str, tmp_path: Path) -> None:
    tester = [sys.executable, "-m", "schemathesis.cli", "run", f"{scripted}/openapi.json", "--checks", CHECKS]
    options = ["--max-examples", "40", "--seed", "1", "--request-timeout", "20"]
    done = subprocess.run([*tester, *options], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:]
