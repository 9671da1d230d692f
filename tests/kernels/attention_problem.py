"""Requests whose keys and values lie in pages in no order, and attention over them by the formula in float64."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Requests = Sequence[tuple[int, int]]  # new tokens and all tokens of each

SCALE = 0.3


def expected_row(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    position: int,
    scale: float,
    window: int | None,
    cap: float = 0.0,
    slopes: Tensor | None = None,
) -> Tensor:
    """One query [H, D] at ``position`` over all keys [L, KVH, D] of its request, in float64."""
    first = 0 if window is None else max(0, position - window + 1)
    keys, values = (t[first : position + 1].double() for t in (k, v))
    scores = torch.einsum("hgd,lhd->hgl", q.double().unflatten(0, (k.shape[1], -1)), keys).flatten(0, 1) * scale
    scores = cap * (scores / cap).tanh() if cap else scores
    if slopes is not None:
        scores += slopes.double().unsqueeze(1) * torch.arange(first - position, 1)
    by_group = scores.softmax(1).unflatten(0, (k.shape[1], -1))
    return torch.einsum("hgl,lhd->hgd", by_group, values).flatten(0, 1)


@dataclass
class Problem:
    """Requests, and where their keys and values [L, KVH, D] are in pages of ``block`` tokens."""

    requests: Requests
    block: int
    q: Tensor
    keys: list[Tensor]
    values: list[Tensor]
    tables: list[list[int]]
    num_blocks: int
    window: int | None

    @classmethod
    def draw(
        cls,
        requests: Requests,
        block: int,
        heads: tuple[int, int],
        head_dim: int,
        window: int | None,
        growth: float = 0,
    ) -> Problem:
        """Keys are longer by ``growth`` the later they come; to the last query all keys are alike."""
        generator = torch.Generator().manual_seed(head_dim + heads[0])
        counts = [-(-total // block) for _, total in requests]
        pages = iter((torch.randperm(sum(counts), generator=generator) + 1).tolist())
        q = torch.randn(sum(new for new, _ in requests), heads[0], head_dim, generator=generator)
        q[-1] = 0
        keys, values = (
            [torch.randn(total, heads[1], head_dim, generator=generator) for _, total in requests] for _ in range(2)
        )
        for rows in keys:
            rows *= 1 + growth * torch.arange(len(rows)).view(-1, 1, 1)
        tables = [list(itertools.islice(pages, count)) for count in counts]
        return cls(requests, block, q, keys, values, tables, 1 + sum(counts), window)

    def block_table(self) -> Tensor:
        """Padded, with the null block where pages are left of the window."""
        width = max(map(len, self.tables))
        rows = []
        for table, (new, total) in zip(self.tables, self.requests, strict=True):
            first_seen = 0 if self.window is None else max(0, total - new - self.window + 1)
            row = [0 if (i + 1) * self.block <= first_seen else block for i, block in enumerate(table)]
            rows.append(row + [0] * (width - len(row)))
        return torch.tensor(rows)

    def pages(self, rows: list[Tensor], fill: float) -> Tensor:
        """Pages [blocks, KVH, block, D] that hold ``rows`` of each request, ``fill`` where nothing was written."""
        pages = torch.full((self.num_blocks, rows[0].shape[1], self.block, *rows[0].shape[2:]), fill)
        for table, of_request in zip(self.tables, rows, strict=True):
            p = torch.arange(len(of_request))
            pages[torch.tensor(table)[p // self.block], :, p % self.block] = of_request
        return pages

    def indices(self) -> tuple[Tensor, Tensor, Tensor]:
        """block_table, cu_seqlens_q, seq_lens."""
        starts = list(itertools.accumulate((new for new, _ in self.requests), initial=0))
        return self.block_table(), torch.tensor(starts), torch.tensor([total for _, total in self.requests])

    def check(
        self, out: Tensor, close: Callable[[Tensor, Tensor], None], cap: float = 0.0, slopes: Tensor | None = None
    ) -> None:
        """Compare ``out`` [T, H, D] with the formula over ``keys`` and ``values``."""
        row = 0
        for (new, total), k, v in zip(self.requests, self.keys, self.values, strict=True):
            for i in range(new):
                scores = SCALE, self.window, cap, slopes
                close(out[row].double(), expected_row(self.q[row], k, v, total - new + i, *scores))
                row += 1
