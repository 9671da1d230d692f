"""The real model, pulled once into the user's own store as ``make chat`` does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from llmrt.hub.sources import resolve


@pytest.fixture(scope="session")
def smollm2() -> Path:
    return resolve("smollm2-135m", report=lambda line: print(line, file=sys.stderr)).path
