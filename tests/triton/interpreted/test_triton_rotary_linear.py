"""Queries, keys and values with packed weights, and the cache that they go to, against the formula in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from llmrt.model.config import RopeConfig
from llmrt.model.modules.rope import cos_sin_table
from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.reference.rope_kv_write import rotate
from llmrt_kernels.triton.rotary_linear import rotary_linear
from tests.kernels.packing import meant, random_weight
from tests.triton.interpreted.test_triton_linear import EXPANDED, random_codes, weight_on

PAGE, PAGES = 16, 7
STEPS = {torch.float32: 1e-6, torch.bfloat16: 8e-3, torch.float16: 1e-3, torch.int8: 9e-3, torch.float8_e4m3fn: 0.07}
POSITIONS = [0, 1, 2, 7, 100, 1000, 3, 4, 5]
SLOTS = [30, 31, 32, 4, 17, 6, 96, 64, 65]


@pytest.mark.parametrize(
    ("tokens", "heads", "kv_heads", "head_dim", "split", "kv_dtype"),
    [
        (1, 2, 1, 32, "qk v", torch.float32),
        (1, 3, 3, 96, "qkv", torch.bfloat16),
        (2, 4, 2, 64, "qk v", torch.int8),
        (2, 2, 1, 64, "qkv", torch.float8_e4m3fn),
        (9, 2, 1, 32, "qk v", torch.float8_e4m3fn),
        (3, 4, 2, 80, "q kv", torch.float16),
        (4, 1, 1, 16, "q k v", torch.float32),
        (9, 2, 1, 32, "qk v", torch.int8),
        (9, 3, 3, 48, "qkv", torch.float16),
    ],
)
def test_rotary_linear_equals_the_formula(
    tokens: int, heads: int, kv_heads: int, head_dim: int, split: str, kv_dtype: torch.dtype, device: str
) -> None:
    check_packed(tokens, (heads, kv_heads), head_dim, split, kv_dtype, device, adapted=False)


@pytest.mark.parametrize(("tokens", "kv_dtype"), [(1, torch.float8_e4m3fn), (3, torch.int8), (9, torch.bfloat16)])
def test_what_adapters_add_is_rotated_too(tokens: int, kv_dtype: torch.dtype, device: str) -> None:
    check_packed(tokens, (2, 1), 32, "qk v", kv_dtype, device, adapted=True)


@pytest.mark.usefixtures("expanded")
@pytest.mark.parametrize(("kv_dtype", "bias"), [(torch.int8, False), (torch.int8, True), (torch.bfloat16, False)])
def test_expanded_it_loses_what_bf16_cannot_hold(kv_dtype: torch.dtype, bias: bool, device: str) -> None:
    check_packed(9, (2, 1), 32, "qk v", kv_dtype, device, adapted=False, bias=bias, lost=EXPANDED)


def check_packed(
    tokens: int,
    heads: tuple[int, int],
    head_dim: int,
    split: str,
    kv_dtype: torch.dtype,
    device: str,
    *,
    adapted: bool,
    bias: bool = True,
    lost: float = 0,
) -> None:
    sizes = {"q": heads[0] * head_dim, "k": heads[1] * head_dim, "v": heads[1] * head_dim}
    rows = tuple(sum(sizes[kind] for kind in piece) for piece in split.split())
    weight, dense = random_weight(rows, 96, (4, 8, 4)[: len(rows)], 32, bias=bias, affine=head_dim == 64)
    product = meant(random_codes(tokens, 96, 32, "cpu"), 96) @ dense.T
    product += 0 if weight.bias is None else weight.bias
    delta = (product.std() * torch.randn_like(product)).bfloat16() if adapted else None
    x, on_device = random_codes(tokens, 96, 32, device), weight_on(weight, device)
    given = None if delta is None else delta.to(device)
    check(
        lambda *turn: rotary_linear(x, on_device, *turn, delta=given),
        product if delta is None else product + delta,
        heads,
        torch.float16 if kv_dtype.itemsize == 1 else kv_dtype,
        kv_dtype,
        device,
        lost,
    )


def check(
    rotated: Callable[[Tensor, Tensor, Tensor, LayerKVCache], Tensor],
    product: Tensor,
    heads: tuple[int, int],
    q_dtype: torch.dtype,
    kv_dtype: torch.dtype,
    device: str,
    lost: float = 0,
) -> None:
    """What ``rotated`` makes of positions, angles, slots and a cache is ``product`` [T, (H + 2 KVH) D] turned, and
    nothing else of the cache is touched; ``heads`` are H and KVH. It may have ``lost`` that share of the largest.
    """
    num_heads, kv_heads = heads
    tokens, head_dim = len(product), product.shape[1] // (num_heads + 2 * kv_heads)
    positions, slots = torch.tensor(POSITIONS[:tokens]), torch.tensor(SLOTS[:tokens])
    shape = (PAGES, kv_heads, PAGE, head_dim)
    k, v = (torch.full(shape, 72, dtype=kv_dtype, device=device) for _ in range(2))
    is_bytes = kv_dtype.itemsize == 1
    k_scales, v_scales = (torch.full(shape[:3], 1.0, device=device) if is_bytes else None for _ in range(2))
    table = cos_sin_table(RopeConfig(), head_dim, 2048)
    q = rotated(positions.to(device), table.to(device), slots.to(device), LayerKVCache(k, v, k_scales, v_scales))
    by_head = product.float().unflatten(1, (-1, head_dim))
    cos, sin = table[positions].unsqueeze(2).unbind(1)
    expected_q, expected_k, expected_v = by_head.split([num_heads, kv_heads, kv_heads], dim=1)
    assert q.dtype == q_dtype
    scale = float(product.abs().max())
    close(q, rotate(expected_q, cos, sin), (STEPS[q_dtype] + lost) * scale)
    steps = (STEPS[kv_dtype] + lost) * scale
    for pages, scales, expected in ((k, k_scales, rotate(expected_k, cos, sin)), (v, v_scales, expected_v)):
        stored = pages.float() if scales is None else pages.float() * scales.unsqueeze(-1)
        by_slot = stored.transpose(1, 2).flatten(0, 1).cpu()
        close(by_slot[slots], expected, steps)
        untouched = torch.ones(PAGES * PAGE, dtype=torch.bool)
        untouched[slots] = False
        assert (by_slot[untouched] == 72).all()


def close(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(actual.float().cpu(), expected, atol=tolerance, rtol=0)
