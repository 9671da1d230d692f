"""Drawn tokens against the reference's, draw for draw, on every instruction set of this machine."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from llmrt_kernels.cpu.sample import sample
from llmrt_kernels.reference.sample import sample as reference
from llmrt_kernels.reference.sample import truncated

OFF = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
DTYPES = {"top_k": torch.int32}
FILTERS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.0},
    {"temperature": 0.3},
    {"temperature": 1e-30},
    {"temperature": 1e30},
    {"top_k": 1},
    {"top_k": 40},
    {"top_k": 1 << 30},
    {"top_p": 0.9},
    {"top_p": 0.9999},
    {"top_p": 1e-6},
    {"top_p": 1e-46},  # 0 in fp32
    {"min_p": 1.0},
    {"temperature": 4.0, "min_p": 0.3},
    {"temperature": 1.7, "top_k": 20, "top_p": 0.8, "min_p": 0.02},
    {"temperature": 20.0, "top_p": 0.97},
]

pytestmark = pytest.mark.usefixtures("isa")


def columns(rows: list[dict[str, Any]], first_draw: int) -> tuple[dict[str, torch.Tensor], dict[str, bool]]:
    """What each row has of each parameter, and whether any has a filter."""
    values = {name: [{**OFF, **row}[name] for row in rows] for name in OFF}
    given = {name: torch.tensor(column, dtype=DTYPES.get(name, torch.float32)) for name, column in values.items()}
    given["seeds"] = torch.arange(-3, len(rows) - 3) * 0x1234567890ABCDE
    given["draws"] = torch.arange(first_draw, first_draw + len(rows))
    return given, {"any_top_k": any(values["top_k"]), "any_top_p": min(values["top_p"]) < 1}


def drawn(logits: torch.Tensor, rows: list[dict[str, Any]], first_draw: int = 0) -> list[int]:
    """A token for each row of logits, its parameters in ``rows``; it must be the reference's."""
    given, any_of = columns(rows, first_draw)
    tokens = sample(logits, **given, **any_of).tolist()
    assert tokens == reference(logits, **given, **any_of).tolist()
    return tokens


def random_logits(rows: int, size: int, spread: float = 3.0) -> torch.Tensor:
    return torch.randn(rows, size, generator=torch.Generator().manual_seed(size)) * spread


@pytest.mark.parametrize("size", [1, 15, 37, 1024, 1025, 5000, 49152])
def test_each_draw_is_the_references(size: int) -> None:
    for first_draw in (0, 1000):
        drawn(random_logits(len(FILTERS), size), FILTERS, first_draw)


def test_forbidden_tokens_and_ties_at_a_border() -> None:
    logits = random_logits(len(FILTERS), 300).round()  # many of each, all of which are in or out
    logits[:, ::3] = -torch.inf
    for first_draw in range(0, 200, 20):
        assert all(token % 3 for token in drawn(logits, FILTERS, first_draw))


def test_one_token_that_may_come_comes() -> None:
    logits = torch.full((len(FILTERS), 70), -torch.inf)
    logits[:, 65] = -1e4
    assert drawn(logits, FILTERS) == [65] * len(FILTERS)


def test_a_draw_does_not_depend_on_the_batch() -> None:
    logits = random_logits(len(FILTERS), 300)
    given, any_of = columns(FILTERS, first_draw=7)
    together = sample(logits, **given, **any_of).tolist()
    for row, token in enumerate(together):
        alone = {name: column[row : row + 1].clone() for name, column in given.items()}
        assert sample(logits[row : row + 1].clone(), **alone, **any_of).tolist() == [token]


@pytest.mark.parametrize("size", [9, 2500])
def test_draws_follow_the_distribution(size: int) -> None:
    count = 400
    row = {"temperature": 1.3, "top_k": 7, "top_p": 0.93, "min_p": 0.03}
    logits = random_logits(1, size, 1.5)
    expected = truncated(logits[0].double(), *row.values())
    expected = expected / expected.sum() * count
    seen = torch.tensor(drawn(logits.expand(count, size).contiguous(), [row] * count)).bincount(minlength=size)
    possible = expected > 0
    assert 3 <= possible.sum() <= 7
    assert seen[~possible].sum() == 0
    statistic = ((seen - expected).square() / expected)[possible].sum()  # chi squared, of at most 6 degrees of freedom
    assert statistic < 22.5  # one in a thousand is above


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_where_there_is_no_number_it_stays_in_range(value: float) -> None:
    given, any_of = columns(FILTERS, 0)
    tokens = sample(torch.full((len(FILTERS), 37), value), **given, **any_of)
    assert ((tokens >= 0) & (tokens < 37)).all()


def test_what_is_not_a_number_is_not_drawn_and_the_infinite_is() -> None:
    drawing = [row for row in FILTERS if row.get("temperature") != 0]
    given, any_of = columns(drawing, 0)
    logits = random_logits(len(drawing), 500)
    logits[:, 3::7] = torch.nan
    assert all(token % 7 != 3 for token in sample(logits, **given, **any_of).tolist())
    logits[:, 250] = torch.inf
    coldish = [row for row, filters in enumerate(drawing) if filters.get("temperature", 1) < 1e30]
    tokens = sample(logits, **given, **any_of).tolist()
    assert {tokens[row] for row in coldish} == {250}
