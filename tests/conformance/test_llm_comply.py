"""llm-comply's tests of each API: https://pypi.org/project/llm-comply/."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from conftest import MODEL

# What asks for a model that sees, or holds a missing model's name for an error: it may be left out here.
NOT_HERE = {
    "openai-chat": {"chat-image-input", "chat-error-handling"},
    "open-responses": {"image-input", "error-handling"},
    "anthropic": {"anth-image-input"},
}
TRIES = 3  # a small model's answers are sampled, and some go on until they are cut off


@pytest.mark.timeout(900)
@pytest.mark.parametrize("form", NOT_HERE)
def test_all_that_applies_passes(smollm2: str, form: str) -> None:
    results = run(smollm2, form)
    assert {name for name in results if name in NOT_HERE[form]} == NOT_HERE[form]  # the names are still theirs
    for _ in range(TRIES - 1):
        failed = [name for name, errors in results.items() if errors and name not in NOT_HERE[form]]
        if failed:
            results |= run(smollm2, form, "--filter", ",".join(failed))
    assert {name: errors for name, errors in results.items() if errors and name not in NOT_HERE[form]} == {}
    assert len(results) > len(NOT_HERE[form]) + 5


def run(url: str, form: str, *options: str) -> dict[str, list[str]]:
    """The errors of each test that was not skipped."""
    tester = [sys.executable, "-m", "llm_comply.cli", "run", "--format", form, "--json", *options]
    done = subprocess.run(
        [*tester, "-u", f"{url}/v1", "-k", "none", "-m", MODEL], capture_output=True, text=True, check=False
    )
    results = json.loads(done.stdout[done.stdout.index("{") :])["results"]
    return {
        result["id"]: [] if result["status"] == "passed" else result["errors"] or ["failed"]
        for result in results
        if result["status"] != "skipped"
    }
