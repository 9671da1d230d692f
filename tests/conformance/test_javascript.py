"""The clients for JavaScript: OpenAI's and the AI SDK's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import HERE, MODEL


@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node.js with npm")
def test_clients_for_javascript(smollm2: str, tmp_path: Path) -> None:
    for name in ("package.json", "smoke.mjs"):
        shutil.copy(HERE / "javascript" / name, tmp_path)
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=tmp_path, check=True)
    done = subprocess.run(
        ["node", "smoke.mjs", smollm2, MODEL], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": ok") == 5
