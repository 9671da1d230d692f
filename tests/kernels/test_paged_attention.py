"""Paged attention against the formula in float64, key by key, over pages in no order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from llmrt_kernels.cpu import attention
from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.packed import Codes
from llmrt_kernels.reference.paged_attention import paged_attention
from tests.kernels.attention_problem import SCALE, Problem
from tests.kernels.packing import meant

BLOCK = 16
NEW_AND_TOTAL = [(1, 1), (1, 8), (1, 17), (1, 30), (5, 5), (16, 16), (9, 17), (3, 40), (1, 700), (70, 300)]
HEADS = [(1, 1), (4, 4), (8, 2), (6, 1), (9, 3), (22, 2)]


def draw(
    heads: tuple[int, int],
    head_dim: int,
    window: int | None,
    lengths: list[tuple[int, int]] = NEW_AND_TOTAL,
    growth: float = 0,
) -> Problem:
    return Problem.draw(lengths, BLOCK, heads, head_dim, window, growth)


def exactly(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=5e-6, rtol=2e-5)


@pytest.mark.parametrize("window", [None, 1, 5, 16])
@pytest.mark.parametrize("heads", HEADS, ids=str)
@pytest.mark.parametrize("head_dim", [16, 20, 80])
def test_the_reference_equals_the_formula(head_dim: int, heads: tuple[int, int], window: int | None) -> None:
    problem = draw(heads, head_dim, window)
    k, v = problem.pages(problem.keys, torch.nan), problem.pages(problem.values, torch.nan)
    out = paged_attention(problem.q, LayerKVCache(k, v), *problem.indices(), 70, SCALE, window)
    problem.check(out.view(problem.q.shape), exactly)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("cap", [0.5, 3.0])
@pytest.mark.parametrize("window", [None, 5])
def test_scores_bent_below_a_cap_equal_the_formula(window: int | None, cap: float) -> None:
    problem = draw((6, 2), 32, window)
    k, v = problem.pages(problem.keys, torch.nan), problem.pages(problem.values, torch.nan)
    operands = (problem.q, LayerKVCache(k, v), *problem.indices(), 70, SCALE, window)
    problem.check(paged_attention(*operands, cap=cap).view(problem.q.shape), exactly, cap)
    out = torch.full_like(problem.q, torch.nan)
    attention.paged_attention(*operands, group=64, out=out, cap=cap)
    problem.check(out, exactly, cap)


SLOPES = torch.tensor([0.5, 0.0, 2.0**-8, 0.25, 1.5, 2.0**-4])


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("window", [None, 5])
def test_far_keys_count_less_by_the_slopes_of_heads(window: int | None) -> None:
    problem = draw((6, 2), 32, window)
    k, v = problem.pages(problem.keys, torch.nan), problem.pages(problem.values, torch.nan)
    operands = (problem.q, LayerKVCache(k, v), *problem.indices(), 70, SCALE, window)
    problem.check(paged_attention(*operands, slopes=SLOPES).view(problem.q.shape), exactly, slopes=SLOPES)
    out = torch.full_like(problem.q, torch.nan)
    attention.paged_attention(*operands, group=64, out=out, slopes=SLOPES)
    problem.check(out, exactly, slopes=SLOPES)


def native(problem: Problem, k: Tensor, v: Tensor, k_scales: Tensor | None, v_scales: Tensor | None) -> Tensor:
    """The op on pages that stand apart, and the same bits where pages of keys and of values take turns."""
    apart = call(problem, k, v, k_scales, v_scales)
    scales = (None, None) if k_scales is None or v_scales is None else take_turns(k_scales, v_scales)
    assert torch.equal(call(problem, *take_turns(k, v), *scales), apart)
    return apart


def call(problem: Problem, *cache: Tensor | None) -> Tensor:
    out = torch.full_like(problem.q, torch.nan)
    operands = (problem.q, LayerKVCache(*cache), *problem.indices(), 70, SCALE, problem.window)
    codes = attention.paged_attention(*operands, group=64, out=out)
    assert isinstance(codes, Codes)
    rows = out.flatten(1)
    assert (meant(codes, rows.shape[1]) - rows).abs().max() <= 0.501 * codes.scales.max()
    return out


def take_turns(k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Pages [blocks, KVH, ...] with a head's keys and values side by side."""
    k, v = torch.stack((k, v), 2).unbind(2)
    return k, v


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("window", [None, 5, 16])
@pytest.mark.parametrize("heads", HEADS, ids=str)
@pytest.mark.parametrize("head_dim", [16, 96])
def test_native_floats_equal_the_formula(head_dim: int, heads: tuple[int, int], window: int | None) -> None:
    problem = draw(heads, head_dim, window)
    k, v = problem.pages(problem.keys, torch.nan), problem.pages(problem.values, torch.nan)
    problem.check(native(problem, k, v, None, None), exactly)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("window", [None, 3_000])
def test_pieces_of_a_long_context_join_to_the_formula(window: int | None) -> None:
    """Chunks that different threads compute."""
    problem = draw((6, 2), 16, window, [(1, 7_003), (3, 6_001)])
    k, v = problem.pages(problem.keys, torch.nan), problem.pages(problem.values, torch.nan)
    problem.check(native(problem, k, v, None, None), exactly)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("growth", [0.05, 0.5])
def test_scores_that_outgrow_those_before(growth: float) -> None:
    """What was added up so far is made relative to them, or vanishes."""
    problem = draw((6, 2), 32, None, growth=growth)
    k, v = problem.pages(problem.keys, torch.nan), problem.pages(problem.values, torch.nan)
    problem.check(
        native(problem, k, v, None, None),
        lambda actual, expected: torch.testing.assert_close(actual, expected, atol=1e-3, rtol=1e-3),
    )


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("heads", HEADS, ids=str)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_native_half_floats_are_read_as_they_are(dtype: torch.dtype, heads: tuple[int, int]) -> None:
    problem = draw(heads, 80, None)
    for rows in (problem.keys, problem.values):
        rows[:] = [row.to(dtype).float() for row in rows]
    k, v = problem.pages(problem.keys, torch.nan).to(dtype), problem.pages(problem.values, torch.nan).to(dtype)
    problem.check(native(problem, k, v, None, None), exactly)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("window", [None, 5, 16])
@pytest.mark.parametrize("heads", HEADS, ids=str)
@pytest.mark.parametrize("head_dim", [32, 96])
def test_native_int8_is_near_the_formula(head_dim: int, heads: tuple[int, int], window: int | None) -> None:
    """On the very numbers that the cache holds: what is left is the rounding of queries and weights."""
    problem = draw(heads, head_dim, window)
    k, k_scales = int8_pages(problem, problem.keys, keys=True)
    v, v_scales = int8_pages(problem, problem.values, keys=False)
    out = native(problem, k, v, k_scales, v_scales)
    errors: list[float] = []
    problem.check(out, lambda actual, expected: errors.append(float((actual - expected).norm() / expected.norm())))
    assert max(errors) < 0.08
    assert sum(errors) / len(errors) < 0.015


@pytest.mark.usefixtures("isa")
def test_int8_scores_are_bent_below_a_cap_and_have_slopes_but_not_their_values_scales() -> None:
    problem = draw((6, 2), 32, None)
    for row in problem.values:
        row *= 100
    k, k_scales = int8_pages(problem, problem.keys, keys=True)
    v, v_scales = int8_pages(problem, problem.values, keys=False)
    out, errors = torch.full_like(problem.q, torch.nan), list[float]()
    operands = (problem.q, LayerKVCache(k, v, k_scales, v_scales), *problem.indices(), 70, SCALE, None)
    attention.paged_attention(*operands, group=64, out=out, cap=0.5, slopes=SLOPES)
    problem.check(
        out,
        lambda actual, expected: errors.append(float((actual - expected).norm() / expected.norm())),
        0.5,
        SLOPES,
    )
    assert max(errors) < 0.08


@pytest.mark.usefixtures("isa")
def test_int8_values_that_are_zero_or_far_apart() -> None:
    """A value's scale goes into the weights, and comes out of their sum: a scale of 0 must not take its key along."""
    problem = draw((6, 2), 32, None)
    for row in problem.values:
        row *= torch.tensor([0.0, 1.0, 1e-4, 1e3]).repeat(len(row))[: len(row), None, None]
    k, k_scales = int8_pages(problem, problem.keys, keys=True)
    v, v_scales = int8_pages(problem, problem.values, keys=False)
    out = native(problem, k, v, k_scales, v_scales)
    assert out[0].eq(0).all()  # its only key has a value of zeros
    problem.check(out, lambda actual, expected: torch.testing.assert_close(actual, expected, rtol=0.1, atol=10))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("heads", HEADS, ids=str)
@pytest.mark.parametrize("growth", [0, 0.1])
def test_a_query_does_not_depend_on_those_beside_it(growth: float, heads: tuple[int, int]) -> None:
    """A prompt that is computed in other parts gives the same bits, also where scores outgrow those before."""
    whole, parts = draw(heads, 32, None, [(11, 300)], growth), draw(heads, 32, None, [(6, 295), (5, 300)], growth)
    parts.q, parts.keys, parts.values = whole.q, whole.keys * 2, whole.values * 2
    rows = []
    for problem in (whole, parts):
        k, k_scales = int8_pages(problem, list(problem.keys), keys=True)
        v, v_scales = int8_pages(problem, list(problem.values), keys=False)
        rows.append(native(problem, k, v, k_scales, v_scales))
    assert torch.equal(rows[0], rows[1])


def int8_pages(problem: Problem, rows: list[Tensor], *, keys: bool) -> tuple[Tensor, Tensor]:
    """Rounds ``rows`` in place, and lays them out as ``llmrt_cache`` says. Slots that nobody wrote hold garbage."""
    scales = [row.abs().amax(-1) / 127 for row in rows]
    codes = [(row / scale.unsqueeze(-1)).nan_to_num().round() for row, scale in zip(rows, scales, strict=True)]
    rows[:] = [code * scale.unsqueeze(-1) for code, scale in zip(codes, scales, strict=True)]
    pages = problem.pages(codes, -99.0)
    blocks, kv_heads, _, dim = pages.shape
    if keys:
        lines = (pages + 128).to(torch.uint8).view(blocks, kv_heads, BLOCK // 16, 16, dim // 4, 4).transpose(3, 4)
    else:
        lines = pages.to(torch.int8).view(blocks, kv_heads, BLOCK // 4, 4, dim // 16, 16).permute(0, 1, 2, 4, 5, 3)
    return lines.contiguous().view(torch.uint8).view(pages.shape), problem.pages(scales, torch.nan)
