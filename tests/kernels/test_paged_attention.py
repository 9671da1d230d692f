"""Paged attention against the formula in float64, key by key, over pages in no order."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import torch

BLOCK = 8


def expected_row(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, position: int, scale: float, window: int | None
) -> torch.Tensor:
    """One query [H, D] at ``position`` over all keys [L, KVH, D] of its request, in float64."""
    first = 0 if window is None else max(0, position - window + 1)
    group = q.shape[0] // k.shape[1]
    rows = []
    for head in range(q.shape[0]):
        keys, values = (t[first : position + 1, head // group].double() for t in (k, v))
        weights = (keys @ q[head].double() * scale).softmax(0)
        rows.append(weights @ values)
    return torch.stack(rows)


@pytest.mark.parametrize("window", [None, 1, 5, 16])
@pytest.mark.parametrize("heads", [(1, 1), (4, 4), (8, 2), (6, 1)], ids=str)
@pytest.mark.parametrize("head_dim", [16, 20, 80])
def test_equals_the_formula(ops: SimpleNamespace, head_dim: int, heads: tuple[int, int], window: int | None) -> None:
    head_dim = head_dim if ops.name == "reference" else -(-head_dim // 16) * 16
    num_heads, num_kv_heads = heads
    generator = torch.Generator().manual_seed(head_dim + num_heads)
    new_and_total = [(1, 1), (1, 8), (1, 9), (1, 30), (5, 5), (8, 8), (9, 17), (3, 40), (1, 700), (70, 300)]
    tables, pages, requests = [], itertools.count(1), []
    num_blocks = 1 + sum(-(-total // BLOCK) for _, total in new_and_total)
    order = (torch.randperm(num_blocks - 1, generator=generator) + 1).tolist()
    k_cache, v_cache = (torch.full((num_blocks, num_kv_heads, BLOCK, head_dim), float("nan")) for _ in range(2))
    for new, total in new_and_total:
        k, v = (torch.randn(total, num_kv_heads, head_dim, generator=generator) for _ in range(2))
        table = [order[next(pages) - 1] for _ in range(-(-total // BLOCK))]
        for p in range(total):
            k_cache[table[p // BLOCK], :, p % BLOCK] = k[p]
            v_cache[table[p // BLOCK], :, p % BLOCK] = v[p]
        first_seen = 0 if window is None else max(0, total - new - window + 1)
        tables.append([0 if (i + 1) * BLOCK <= first_seen else block for i, block in enumerate(table)])
        requests.append((new, total, k, v))
    width = max(map(len, tables))
    starts = list(itertools.accumulate((new for new, _ in new_and_total), initial=0))
    q = torch.randn(starts[-1], num_heads, head_dim, generator=generator)
    out = ops.paged_attention(
        q,
        k_cache,
        v_cache,
        torch.tensor([table + [0] * (width - len(table)) for table in tables]),
        torch.tensor(starts),
        torch.tensor([total for _, total in new_and_total]),
        0.3,
        window,
    )
    for start, (new, total, k, v) in zip(starts, requests, strict=False):
        for i in range(new):
            expected = expected_row(q[start + i], k, v, total - new + i, 0.3, window)
            torch.testing.assert_close(out[start + i].double(), expected, atol=5e-6, rtol=2e-5)
