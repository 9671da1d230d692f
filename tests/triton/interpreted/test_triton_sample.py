"""Tokens drawn without sorting against the reference's, draw for draw, and against the exact distribution."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from llmrt_kernels.reference.sample import sample as reference
from llmrt_kernels.reference.sample import truncated
from llmrt_kernels.triton.sample import sample

OFF = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
DTYPES = {"top_k": torch.int32}
STEP = 2.0**-15  # what counts as equal


def drawn(logits: torch.Tensor, rows: list[dict[str, Any]], device: str, first_draw: int = 0) -> list[int]:
    """A token for each row of logits, its parameters in ``rows``; it must be the reference's."""
    columns = {name: [{**OFF, **row}[name] for row in rows] for name in OFF}
    given = {name: torch.tensor(column, dtype=DTYPES.get(name, torch.float32)) for name, column in columns.items()}
    given["seeds"] = torch.arange(-3, len(rows) - 3) * 0x1234567890ABCDE
    given["draws"] = torch.arange(first_draw, first_draw + len(rows))
    any_of = {"any_top_k": any(columns["top_k"]), "any_top_p": min(columns["top_p"]) < 1}
    tokens = sample(logits.to(device), **{name: t.to(device) for name, t in given.items()}, **any_of).tolist()
    assert tokens == reference(logits, **given, **any_of).tolist()
    return tokens


def random_logits(rows: int, size: int, spread: float = 3.0) -> torch.Tensor:
    return torch.randn(rows, size, generator=torch.Generator().manual_seed(size)) * spread


FILTERS: list[dict[str, Any]] = [
    {"temperature": 0.0},
    {"temperature": 0.3},
    {"top_k": 1},
    {"top_k": 40},
    {"top_p": 0.9},
    {"top_p": 0.9999},
    {"top_p": 1e-6},
    {"temperature": 4.0, "min_p": 0.3},
    {"temperature": 9.0, "min_p": 0.5},
    {"temperature": 1e-4},
    {"temperature": 1.7, "top_k": 20, "top_p": 0.8, "min_p": 0.02},
    {"temperature": 5.0, "top_k": 1 << 30, "top_p": 0.5},
    {"temperature": 20.0, "top_p": 0.97},
]


@pytest.mark.parametrize("size", [1, 37, 2049, 5000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_each_draw_is_the_references(size: int, dtype: torch.dtype, device: str) -> None:
    drawn(random_logits(len(FILTERS), size).to(dtype), FILTERS, device)


@pytest.mark.parametrize("rows", [[{}], [{"top_k": 3}, {}], [{"top_p": 0.7}, {"temperature": 0.0}]])
def test_what_no_row_has_is_left_out(rows: list[dict[str, Any]], device: str) -> None:
    for first_draw in range(5):
        drawn(random_logits(len(rows), 300), rows, device, first_draw)


def test_a_draw_does_not_depend_on_the_batch(device: str) -> None:
    logits = random_logits(6, 300)
    together = drawn(logits, FILTERS[3:9], device)
    alone = drawn(logits[:1], FILTERS[3:4], device)
    assert together[:1] == alone


def test_draws_follow_the_distribution(device: str) -> None:
    count, size = 160, 9
    row = {"temperature": 1.3, "top_k": 7, "top_p": 0.93, "min_p": 0.03}
    logits = random_logits(1, size, 1.5)
    expected = truncated(logits[0].double(), *row.values())
    expected = expected / expected.sum() * count
    seen = torch.tensor(drawn(logits.expand(count, size).contiguous(), [row] * count, device)).bincount(minlength=size)
    possible = expected > 0
    assert 3 <= possible.sum() < 7
    assert seen[~possible].sum() == 0
    chi_square = ((seen - expected)[possible] ** 2 / expected[possible]).sum()
    assert chi_square < 20  # 6 degrees of freedom at the most: one seed in 400


@pytest.mark.parametrize("row", [{"top_k": 2}, {"top_p": 0.6}], ids=str)
@pytest.mark.parametrize(("gap", "kept"), [(0.0, {1, 2, 3}), (STEP / 2, {1, 2, 3}), (STEP, {1, 3})])
def test_ties_at_a_border_are_kept_and_less_than_a_step_is_a_tie(
    row: dict[str, Any], gap: float, kept: set[int], device: str
) -> None:
    logits = torch.tensor([[-5.0, 1.0, 0.75 - gap, 0.75, -6.0]]).expand(24, 5).contiguous()
    values = {**OFF, **row}
    columns = {name: torch.full((24,), values[name], dtype=DTYPES.get(name, torch.float32)) for name in OFF}
    columns |= {"seeds": torch.arange(24), "draws": torch.zeros(24, dtype=torch.int64)}
    moved = {name: t.to(device) for name, t in columns.items()}
    tokens = sample(logits.to(device), **moved, any_top_k="top_k" in row, any_top_p="top_p" in row)
    assert set(tokens.tolist()) == kept


def test_ruled_out_tokens_are_never_drawn(device: str) -> None:
    logits = torch.full((8, 50), float("-inf"))
    logits[:, 17], logits[:, 31] = 2.0, 1.0
    tokens = drawn(logits, [{}] * 4 + [{"top_k": 40}] * 2 + [{"top_p": 0.99}] * 2, device)
    assert set(tokens) <= {17, 31}


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), float("inf")])
def test_rows_that_are_no_distribution_stay_in_range(value: float, device: str) -> None:
    rows = torch.full((1, 50), value, device=device)
    ones, zero = torch.ones(1, device=device), torch.zeros(1, dtype=torch.int64, device=device)
    token = sample(rows, ones, zero.int() + 5, ones * 0.5, ones * 0, zero, zero, any_top_k=True, any_top_p=True)
    assert token.item() in range(50)
