"""Attention on pages against the formula in float64: prompts, decoding, and both in one call."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.packed import Codes
from llmrt_kernels.triton import attention_tuning
from llmrt_kernels.triton.attention import counters, paged_attention
from tests.kernels.attention_problem import SCALE, Problem, Requests
from tests.kernels.packing import meant

MIXED: Requests = [(1, 1), (9, 17), (1, 65), (5, 5), (41, 131), (1, 127), (2, 64), (16, 16), (1, 200)]
DECODE: Requests = [(1, 1), (1, 15), (1, 64), (1, 200), (1, 65)]
TOLERANCE = {
    torch.float32: 2e-6,
    torch.float16: 2e-3,
    torch.bfloat16: 1.5e-2,
    torch.int8: 6e-3,
    torch.float8_e4m3fn: 6e-3,
}


def run(problem: Problem, dtype: torch.dtype, kv_dtype: torch.dtype, group: int, device: str) -> Tensor | Codes:
    """What the kernels make of ``problem``, whose operands are first rounded to what they can be given."""
    problem.q = problem.q.to(dtype).float()
    if kv_dtype.itemsize == 1:
        pages = [pages_of_bytes(problem, rows, kv_dtype) for rows in (problem.keys, problem.values)]
        caches, scales = zip(*pages, strict=True)
    else:
        for rows in (problem.keys, problem.values):
            rows[:] = [row.to(kv_dtype).float() for row in rows]
        caches = tuple(problem.pages(rows, torch.nan).to(kv_dtype) for rows in (problem.keys, problem.values))
        scales = (None, None)
    kv = LayerKVCache(*(None if pages is None else pages.to(device) for pages in (*caches, *scales)))
    q, *batch = (operand.to(device) for operand in (problem.q.to(dtype), *problem.indices()))
    return paged_attention(q, kv, *batch, max(new for new, _ in problem.requests), SCALE, problem.window, group)


def pages_of_bytes(problem: Problem, rows: list[Tensor], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Rounds ``rows`` in place. Slots that nobody wrote hold any code, and no number for a scale."""
    largest = 127 if dtype == torch.int8 else 448
    scales = [row.abs().amax(-1) / largest for row in rows]
    codes = [row / scale.unsqueeze(-1) for row, scale in zip(rows, scales, strict=True)]
    codes = [code.round() if dtype == torch.int8 else code.to(dtype).float() for code in codes]
    rows[:] = [code * scale.unsqueeze(-1) for code, scale in zip(codes, scales, strict=True)]
    return problem.pages(codes, -99.0).to(dtype), problem.pages(scales, torch.nan)


def check(problem: Problem, out: Tensor, tolerance: float) -> None:
    def close(actual: Tensor, expected: Tensor) -> None:
        torch.testing.assert_close(actual, expected, atol=tolerance * float(expected.abs().max()), rtol=tolerance)

    problem.check(out.cpu().float().view(problem.q.shape), close)


@pytest.mark.parametrize(
    ("heads", "head_dim", "window", "page", "dtype", "kv_dtype"),
    [
        ((2, 2), 64, None, 16, torch.float32, torch.float32),
        ((8, 2), 80, 5, 64, torch.float32, torch.float32),
        ((6, 2), 96, 64, 16, torch.float32, torch.int8),
        ((3, 1), 128, 1, 32, torch.float16, torch.float16),
        ((4, 1), 64, 100, 64, torch.bfloat16, torch.int8),
        ((8, 1), 256, 17, 16, torch.bfloat16, torch.bfloat16),
        ((5, 1), 20, 1000, 64, torch.float32, torch.float16),
        ((12, 1), 16, 70, 32, torch.float32, torch.float32),
        ((4, 2), 80, None, 16, torch.float16, torch.float16),
        ((8, 2), 80, 33, 32, torch.bfloat16, torch.int8),
        ((4, 4), 96, 40, 64, torch.bfloat16, torch.bfloat16),
        ((3, 1), 96, None, 32, torch.float16, torch.int8),
        ((2, 1), 256, 70, 32, torch.float16, torch.float16),
        ((4, 2), 256, None, 64, torch.float32, torch.int8),
        ((4, 2), 80, 100, 16, torch.bfloat16, torch.float8_e4m3fn),
        ((2, 2), 128, None, 64, torch.float16, torch.float8_e4m3fn),
    ],
)
def test_prompts_and_decoding_equal_the_formula(
    heads: tuple[int, int],
    head_dim: int,
    window: int | None,
    page: int,
    dtype: torch.dtype,
    kv_dtype: torch.dtype,
    device: str,
) -> None:
    problem = Problem.draw(MIXED, page, heads, head_dim, window)
    out = run(problem, dtype, kv_dtype, 0, device)
    assert isinstance(out, Tensor)
    assert out.dtype == dtype
    check(problem, out, max(TOLERANCE[dtype], TOLERANCE[kv_dtype]))


@pytest.mark.parametrize("splits", [1, 3, 40])
@pytest.mark.parametrize(
    ("new", "heads", "head_dim", "window", "kv_dtype"),
    [(1, (4, 2), 80, None, torch.float32), (2, (3, 1), 256, 33, torch.int8), (3, (10, 1), 64, 70, torch.float32)],
)
def test_parts_are_joined(
    new: int,
    heads: tuple[int, int],
    head_dim: int,
    window: int | None,
    kv_dtype: torch.dtype,
    splits: int,
    device: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attention_tuning, "decode_splits", lambda *_: splits)
    requests = [(min(new, total), total) for _, total in DECODE]
    problem = Problem.draw(requests, 16, heads, head_dim, window)
    out = run(problem, torch.float32, kv_dtype, 0, device)
    assert isinstance(out, Tensor)
    check(problem, out, TOLERANCE[kv_dtype])
    assert not counters(torch.device(device), 1).any()


def test_parts_may_arrive_in_any_order(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of programs is another in each launch."""
    monkeypatch.setattr(attention_tuning, "decode_splits", lambda *_: 5)
    problem = Problem.draw(DECODE, 16, (4, 2), 64, None)
    first, *others = (run(problem, torch.float16, torch.float16, 0, device) for _ in range(4))
    assert isinstance(first, Tensor)
    assert all(isinstance(other, Tensor) and torch.equal(first, other) for other in others)


@pytest.mark.parametrize(
    ("requests", "heads", "head_dim", "group"),
    [
        (DECODE, (4, 1), 64, 32),
        (MIXED, (4, 2), 64, 64),
        ([(1, 9), (40, 50)], (3, 3), 96, 32),
        ([(1, 9), (40, 50)], (6, 2), 80, 64),
    ],
)
def test_int8_results(requests: Requests, heads: tuple[int, int], head_dim: int, group: int, device: str) -> None:
    """A group is a part of a head, or, in the last case, goes over its end."""
    problem = Problem.draw(requests, 64, heads, head_dim, None)
    codes = run(problem, torch.float32, torch.float32, group, device)
    assert isinstance(codes, Codes)
    on_host = Codes(codes.codes.cpu(), codes.scales.cpu(), codes.sums.cpu(), group)
    rounded = meant(on_host, heads[0] * head_dim)
    half_a_step = on_host.scales.repeat_interleave(group, 1)[:, : heads[0] * head_dim] * 0.501 + 2e-6
    shape = problem.q.shape
    rows = iter(half_a_step.view(shape).double())
    problem.check(rounded.view(shape), lambda actual, expected: _within(actual, expected, next(rows)))


def _within(actual: Tensor, expected: Tensor, step: Tensor) -> None:
    assert ((actual - expected).abs() <= step).all()


def test_pools_of_more_than_2_31_elements(device: str) -> None:
    """Pages at the end of a pool that no int32 can address; it is zeros that were never touched."""
    page, kv_heads, dim = 64, 2, 64
    blocks = (1 << 31) // (page * kv_heads * dim) + 4
    table = torch.tensor([[blocks - 1, 3, blocks - 2]])
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(-127, 128, (2, 3, kv_heads, page, dim), generator=generator, dtype=torch.int8)
    caches = [torch.from_numpy(np.zeros((blocks, kv_heads, page, dim), np.int8)).to(device) for _ in range(2)]
    scales = [torch.from_numpy(np.zeros((blocks, kv_heads, page), np.float32)).to(device) for _ in range(2)]
    for cache, scale, values in zip(caches, scales, rows, strict=True):
        cache[table[0]], scale[table[0]] = values.to(device), 0.01
    for new in (1, 20):
        q = torch.randn(new, 4, dim, generator=generator)
        starts, lengths = torch.tensor([0, new]), torch.tensor([3 * page])
        batch = [t.to(device) for t in (table, starts, lengths)]
        out = paged_attention(q.to(device), LayerKVCache(*caches, *scales), *batch, new, 0.1, None)
        k, v = (t.transpose(0, 1).flatten(1, 2).float() * 0.01 for t in rows)
        problem = Problem(
            [(new, 3 * page)], page, q / SCALE * 0.1, [k.transpose(0, 1)], [v.transpose(0, 1)], [], 0, None
        )
        check(problem, out, TOLERANCE[torch.int8])


@pytest.mark.parametrize("programs", [1, 2, 8, 64, 1000])
@pytest.mark.parametrize("table_keys", [64, 4096, 131072])
def test_splits_fill_the_device_and_leave_each_some_keys(programs: int, table_keys: int) -> None:
    splits = attention_tuning.decode_splits(programs, 100, table_keys)
    room = 100 * attention_tuning.BLOCKS_PER_PROCESSOR
    assert splits == 1 or table_keys / splits >= attention_tuning.MIN_SPLIT_KEYS
    assert table_keys / splits <= attention_tuning.MAX_SPLIT_KEYS
    most = table_keys // attention_tuning.MIN_SPLIT_KEYS
    assert splits * programs >= 0.9 * min(room, most * programs)
