"""docs/models.md says what the families are."""

from __future__ import annotations

from benchmarks.model_table import MODELS, PAGE, table
from llmrt.model.families.registry import FAMILIES


def test_the_page_is_what_its_command_writes() -> None:
    assert PAGE.read_text() == table(), "run: python -m benchmarks.model_table"


def test_every_family_is_on_it() -> None:
    assert set(MODELS) == set(FAMILIES)
