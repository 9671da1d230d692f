"""RoPE against complex multiplication in float64, and keys and values in the slots they were sent to."""

from __future__ import annotations

import pytest
import torch

from llmrt.model.config import RopeConfig
from llmrt.model.modules.rope import cos_sin_table
from llmrt_kernels.head_norm import HeadNorm
from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.reference.rope_kv_write import rope_kv_write

BLOCK = 4


def rotated(x: torch.Tensor, position: int) -> torch.Tensor:
    """Heads [heads, D]: each pair (x[i], x[i + D/2]) is a complex number turned by position * theta^(-2i/D)."""
    half = x.shape[-1] // 2
    number = torch.complex(x[..., :half].double(), x[..., half:].double())
    angle = position * 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    turned = number * torch.polar(torch.ones(half, dtype=torch.float64), angle)
    return torch.cat((turned.real, turned.imag), -1)


def normalised(x: torch.Tensor, weight: torch.Tensor, centred: bool) -> torch.Tensor:
    if centred:
        x = x - x.double().mean(-1, keepdim=True)
    return (x.double() / (x.double().pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight.double()).float()


@pytest.mark.parametrize(("heads", "kv_heads", "head_dim"), [(1, 1, 2), (4, 2, 16), (6, 3, 20), (8, 1, 128)])
@pytest.mark.parametrize("normed", ["", "head by head", "centred"])
@pytest.mark.parametrize(
    ("kv_dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2), (torch.float16, 1e-2)]
)
def test_equals_complex_rotation(
    heads: int, kv_heads: int, head_dim: int, kv_dtype: torch.dtype, tolerance: float, normed: str
) -> None:
    generator = torch.Generator().manual_seed(head_dim)
    positions = torch.tensor([0, 1, 7, 100, 4000])
    slots = torch.tensor([9, 4, 17, 5, 30])
    qkv = torch.randn(5, (heads + 2 * kv_heads) * head_dim, generator=generator)
    k_cache, v_cache = (torch.full((8, kv_heads, BLOCK, head_dim), 99.0, dtype=kv_dtype) for _ in range(2))
    table = cos_sin_table(RopeConfig(), head_dim, 4096)
    norm, centred = None, normed == "centred"
    if normed:
        shapes = ((heads, head_dim), (kv_heads, head_dim)) if centred else ((head_dim,), (head_dim,))
        norm = HeadNorm(*(torch.randn(shape, generator=generator) for shape in shapes), eps=1e-5, centred=centred)
    q = rope_kv_write(qkv, positions, table, slots, LayerKVCache(k_cache, v_cache), norm)
    split = list(qkv.view(5, -1, head_dim).split([heads, kv_heads, kv_heads], dim=1))
    if norm is not None:
        split[:2] = (normalised(x, w, centred) for x, w in zip(split, (norm.q, norm.k), strict=False))
    for t, (position, slot) in enumerate(zip(positions.tolist(), slots.tolist(), strict=True)):
        torch.testing.assert_close(q[t].double(), rotated(split[0][t], position), atol=1e-4, rtol=1e-4)
        k, v = k_cache[slot // BLOCK, :, slot % BLOCK], v_cache[slot // BLOCK, :, slot % BLOCK]
        torch.testing.assert_close(k.double(), rotated(split[1][t], position), atol=10 * tolerance, rtol=tolerance)
        torch.testing.assert_close(v, split[2][t].to(kv_dtype))
    untouched = torch.ones(32, dtype=torch.bool)
    untouched[slots] = False
    assert (k_cache.transpose(1, 2).flatten(0, 1)[untouched] == 99).all()
