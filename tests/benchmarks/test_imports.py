"""Every benchmark still fits the code that it measures, as far as its imports tell."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What only the environments of `make report` and `make peers` have.
ELSEWHERE = ("matplotlib", "llama_cpp")


@pytest.mark.parametrize(
    "module", [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in ROOT.glob("benchmarks/**/*.py")]
)
def test_a_benchmark_imports(module: str) -> None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in ELSEWHERE:
            raise
