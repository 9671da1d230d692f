"""What is measured to tune launch configurations: the attention and the products of one model, on random numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.packed import Matrix, Weight
from llmrt_kernels.triton.attention import paged_attention
from llmrt_kernels.triton.attention_tuning import name_of
from llmrt_kernels.triton.codes import quantize_rows
from llmrt_kernels.triton.integers import cdiv, next_power_of_2
from llmrt_kernels.triton.linear import linear
from llmrt_kernels.triton.tiles import MOST_WITH_OFFSETS, TILES, product_name
from llmrt_kernels.triton.tuning import Work

CONTEXT, PAGE = 8192, 64
NEW_TOKENS = {"prefill": 2048, "decode": 1}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A model's sizes. ``matrices`` are the rows and columns of a layer's; packed if ``group`` is not 0."""

    heads: int
    kv_heads: int
    head_dim: int
    kv_dtype: torch.dtype
    matrices: tuple[tuple[int, int], ...]
    bits: int
    group: int
    offsets: bool


def works_of(shape: Shape, device: torch.device) -> dict[str, Work]:
    """What to measure for each name, see ``tuned``."""
    padded = max(16, next_power_of_2(shape.head_dim))
    works = {
        name_of(kind, padded, shape.kv_dtype.itemsize): _attention(shape, new, device)
        for kind, new in NEW_TOKENS.items()
    }
    if shape.group:
        weights = [_weight(shape, rows, columns, device) for rows, columns in shape.matrices]
        most = MOST_WITH_OFFSETS if shape.offsets else TILES[-1].tokens
        for tokens in (tile.tokens for tile in TILES if tile.tokens <= most):
            works[product_name(tokens, offsets=shape.offsets)] = _products(weights, tokens, device)
    return works


def _attention(shape: Shape, new: int, device: torch.device) -> Work:
    blocks, is_bytes = CONTEXT // PAGE, shape.kv_dtype.itemsize == 1
    sizes = (blocks, shape.kv_heads, PAGE, shape.head_dim)
    q = torch.randn(new, shape.heads, shape.head_dim, device=device)
    k, v = (torch.randn(sizes, device=device).to(shape.kv_dtype) for _ in range(2))
    scales = [torch.full(sizes[:3], 0.01, device=device) if is_bytes else None for _ in range(2)]
    table = torch.arange(blocks, device=device).unsqueeze(0)
    starts, lengths = torch.tensor([0, new], device=device), torch.tensor([CONTEXT], device=device)
    q = q.to(torch.float16 if is_bytes else shape.kv_dtype)
    kv, scale = LayerKVCache(k, v, *scales), shape.head_dim**-0.5
    return partial(paged_attention, q, kv, table, starts, lengths, new, scale, None, shape.group)


def _weight(shape: Shape, rows: int, columns: int, device: torch.device) -> Weight:
    blocks, groups = cdiv(rows, 16), cdiv(columns, shape.group)
    lines = groups * shape.group * shape.bits // 32
    data = torch.randint(0, 256, (blocks, lines, 64), dtype=torch.uint8, device=device)
    scales = torch.full((blocks, groups, 16), 0.01, dtype=torch.float16, device=device)
    return Weight((Matrix(data, scales, shape.bits, rows, scales if shape.offsets else None),), shape.group)


def _products(weights: list[Weight], tokens: int, device: torch.device) -> Work:
    """As many tokens as their tile has; those of a layer's matrices, for they share the configuration."""

    def multiply() -> list[Tensor]:
        return [linear(x, weight) for x, weight in pairs]

    columns = [weight.pieces[0].data.shape[1] * 32 // weight.pieces[0].bits for weight in weights]
    rows = [torch.randn(tokens, count, device=device) for count in columns]
    pairs = [(quantize_rows(x, weight.group), weight) for x, weight in zip(rows, weights, strict=True)]
    return multiply
