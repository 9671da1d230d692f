"""RoPE against complex multiplication in float64, and keys and values in the slots they were sent to."""

from __future__ import annotations

import pytest
import torch

from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.triton.rope_kv_write import rope_kv_write

POSITIONS = torch.tensor([0, 1, 7, 100, 90])
SLOTS = torch.tensor([9, 4, 70, 5, 30])
BLOCKS = 6
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}


def table(head_dim: int) -> torch.Tensor:
    """cos and sin of p * 10000^(-2i/D), [101, 2, D/2]."""
    frequencies = 10000.0 ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    angles = torch.outer(torch.arange(101, dtype=torch.float64), frequencies)
    return torch.stack((angles.cos(), angles.sin()), 1).float()


def rotated(heads: torch.Tensor) -> torch.Tensor:
    """heads [T, heads, D] at POSITIONS: each pair (x[i], x[i + D/2]) is a complex number that is turned."""
    half = heads.shape[-1] // 2
    number = torch.complex(heads[..., :half].double(), heads[..., half:].double())
    angle = torch.outer(POSITIONS.double(), 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half))
    turned = number * torch.polar(torch.ones_like(angle), angle).unsqueeze(1)
    return torch.cat((turned.real, turned.imag), -1)


def random_heads(heads: int, kv_heads: int, head_dim: int, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(head_dim)
    return torch.randn(len(POSITIONS), heads + 2 * kv_heads, head_dim, generator=generator).to(dtype)


@pytest.mark.parametrize(
    ("heads", "kv_heads", "head_dim", "page", "dtype", "kv_dtype"),
    [
        (1, 1, 2, 16, torch.float32, torch.float32),
        (4, 2, 16, 16, torch.float32, torch.float16),
        (6, 3, 20, 32, torch.float16, torch.float16),
        (8, 1, 128, 16, torch.bfloat16, torch.bfloat16),
        (9, 3, 64, 64, torch.bfloat16, torch.float16),
        (7, 7, 80, 32, torch.float16, torch.float32),
        (4, 2, 96, 64, torch.bfloat16, torch.bfloat16),
        (2, 1, 256, 16, torch.float16, torch.float16),
    ],
)
def test_equals_complex_rotation(
    heads: int, kv_heads: int, head_dim: int, page: int, dtype: torch.dtype, kv_dtype: torch.dtype, device: str
) -> None:
    x = random_heads(heads, kv_heads, head_dim, dtype)
    k_cache, v_cache = (torch.full((BLOCKS, kv_heads, page, head_dim), 99.0, dtype=kv_dtype) for _ in range(2))
    moved = [t.to(device) for t in (x.flatten(1), POSITIONS, table(head_dim), SLOTS, k_cache, v_cache)]
    q = rope_kv_write(*moved[:4], LayerKVCache(*moved[4:]))
    k_cache, v_cache = moved[4].cpu(), moved[5].cpu()
    queries, keys, values = x.split([heads, kv_heads, kv_heads], 1)
    assert q.dtype == dtype
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(q.cpu().double(), rotated(queries), atol=tolerance, rtol=tolerance)
    block, offset = SLOTS // page, SLOTS % page
    tolerance = TOLERANCE[kv_dtype]
    torch.testing.assert_close(k_cache[block, :, offset].double(), rotated(keys), atol=tolerance, rtol=tolerance)
    assert torch.equal(v_cache[block, :, offset], values.to(kv_dtype))
    for cache in (k_cache, v_cache):
        assert (untouched(cache) == 99).all()


@pytest.mark.parametrize(("heads", "kv_heads", "head_dim"), [(4, 2, 16), (5, 5, 80), (8, 1, 128)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_int8_is_rounded_by_token_and_head(
    heads: int, kv_heads: int, head_dim: int, dtype: torch.dtype, device: str
) -> None:
    x = random_heads(heads, kv_heads, head_dim, dtype)
    x[2, -1] = 0  # a value of zeros
    caches = [torch.full((BLOCKS, kv_heads, 16, head_dim), 99, dtype=torch.int8) for _ in range(2)]
    scales = [torch.full((BLOCKS, kv_heads, 16), 99.0) for _ in range(2)]
    moved = [t.to(device) for t in (x.flatten(1), POSITIONS, table(head_dim), SLOTS, *caches, *scales)]
    rope_kv_write(*moved[:4], LayerKVCache(*moved[4:]))
    block, offset = SLOTS // 16, SLOTS % 16
    _, keys, values = x.split([heads, kv_heads, kv_heads], 1)
    for written, by, meant in zip(moved[4:6], moved[6:8], (rotated(keys), values.double()), strict=True):
        cache, scale = written.cpu(), by.cpu()
        step = scale[block, :, offset].double()
        torch.testing.assert_close(step, meant.abs().amax(2) / 127, rtol=1e-5, atol=1e-9)
        error = (cache[block, :, offset] * step.unsqueeze(2) - meant).abs()
        assert (error <= step.unsqueeze(2) * 0.51).all()
        assert (untouched(cache) == 99).all()
        assert (untouched(scale) == 99).all()


@pytest.mark.parametrize(("heads", "kv_heads", "head_dim"), [(4, 2, 16), (5, 5, 80)])
def test_fp8_is_rounded_by_token_and_head(heads: int, kv_heads: int, head_dim: int, device: str) -> None:
    x = random_heads(heads, kv_heads, head_dim, torch.float32)
    x[2, -1] = 0  # a value of zeros
    caches = [torch.full((BLOCKS, kv_heads, 16, head_dim), 72.0).to(torch.float8_e4m3fn) for _ in range(2)]
    scales = [torch.full((BLOCKS, kv_heads, 16), 99.0) for _ in range(2)]
    moved = [t.to(device) for t in (x.flatten(1), POSITIONS, table(head_dim), SLOTS, *caches, *scales)]
    rope_kv_write(*moved[:4], LayerKVCache(*moved[4:]))
    block, offset = SLOTS // 16, SLOTS % 16
    values, cache, scale = x[:, -kv_heads:], moved[5].cpu(), moved[7].cpu()
    largest = values.abs().amax(2)
    torch.testing.assert_close(scale[block, :, offset], largest / 448, rtol=1e-6, atol=0)
    meant = values * torch.where(largest > 0, 448 / largest, 0).unsqueeze(2)
    assert torch.equal(cache[block, :, offset].float(), meant.to(torch.float8_e4m3fn).float())
    keys = moved[4].cpu()[block, :, offset].double() * moved[6].cpu()[block, :, offset].double().unsqueeze(2)
    expected = rotated(x[:, heads : heads + kv_heads])
    torch.testing.assert_close(keys, expected, rtol=0.0701, atol=float(expected.abs().max()) * 2**-9)
    assert (untouched(cache.float()) == 72).all()


def untouched(cache: torch.Tensor) -> torch.Tensor:
    """All slots of a cache [blocks, KVH, page, ...] but SLOTS."""
    by_slot = cache.transpose(1, 2).flatten(0, 1)
    kept = torch.ones(len(by_slot), dtype=torch.bool)
    kept[SLOTS] = False
    return by_slot[kept]
